"""From sequences and values to a sketch."""

"""From a sketch to explanations."""

"""Which sequences a sketch needs."""

"""Sequence and table files. This package knows no model and no result."""

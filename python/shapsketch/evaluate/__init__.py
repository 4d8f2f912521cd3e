"""The only package that calls a model: batches in, checked values out."""

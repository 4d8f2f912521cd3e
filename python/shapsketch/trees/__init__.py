"""Tree ensembles of other libraries as surrogates."""

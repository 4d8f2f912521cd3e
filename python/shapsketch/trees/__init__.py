"""Tree ensembles of other libraries, converted to surrogates."""

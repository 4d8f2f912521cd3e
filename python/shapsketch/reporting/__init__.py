"""Reports: one page of HTML with everything that a sketch says about a model and some sequences."""

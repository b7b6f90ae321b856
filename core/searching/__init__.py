"""The rooms of `core.search`: what is searched, one trial, and the trials as Ray Tune runs them."""

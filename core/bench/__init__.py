"""Measurements of cost (`python -m core.bench`): seconds of reading and training, bytes, loading."""

"""Measurements of cost: seconds of reading, bytes of training. The command line is `python -m core.bench`."""

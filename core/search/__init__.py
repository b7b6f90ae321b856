"""Search a row's learning rate with Ray Tune (`python -m core.search`)."""

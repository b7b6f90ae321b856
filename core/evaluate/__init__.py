"""Read every image of every benchmark (`python -m core.evaluate`)."""

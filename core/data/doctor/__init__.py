"""Checks a data folder and reports what is wrong with it (`python -m core.data.doctor`)."""

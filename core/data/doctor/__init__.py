"""What lies in a data folder and what is wrong with it (`python -m core.data.doctor`)."""

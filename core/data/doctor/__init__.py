"""What lies in a folder of data and what is wrong with it (`python -m core.data.doctor`)."""

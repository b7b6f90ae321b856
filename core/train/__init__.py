"""Train one row (`python -m core.train`): the run, its steps, its states."""

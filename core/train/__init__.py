"""Training of one row (`python -m core.train`).

run.py     a whole run: model, data and optimiser from a row         state.py       resumable states, signals
loop.py    the loop: step, log, save, validate                       validation.py  accuracy on val/
step.py    the gradient of one step, over passes and processes       record.py      metrics.jsonl, provenance, identity
orders.py  the permutations of a step                                loss_monitor.py  non-finite and exploding losses
batches.py a step's batches from the loader                           tower_graphs.py, out_of_memory.py: on a GPU
"""

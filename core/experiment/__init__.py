"""A row's gin file as Python objects: training, scoring protocol, optimiser, parameter counts, and the identity of its run."""

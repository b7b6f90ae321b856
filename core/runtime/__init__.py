"""The machine: devices and their lease, processes, precision, locks, provenance, tracking."""

"""The machine: devices and GPU leases, several processes, precision, locks, provenance, tracking with wandb."""

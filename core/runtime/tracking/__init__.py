"""Runs recorded with wandb by a program of its own, without ever waiting for it."""

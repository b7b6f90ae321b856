"""Seconds that mean what they say: a GPU returns before its work is done."""

import time

import torch


def finish(device: torch.device | str) -> None:
    """Wait for what was handed to a GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def clock(device: torch.device | str) -> float:
    """Seconds by the clock, once the device has nothing left to do."""
    finish(device)
    return time.perf_counter()

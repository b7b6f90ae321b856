"""Wall-clock time with the GPU's work included: calls to a GPU return before its work is done."""

import time

import torch


def finish(device: torch.device | str) -> None:
    """Wait until a GPU has done all its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def clock(device: torch.device | str) -> float:
    """Seconds on the clock, read when the device has done all its work."""
    finish(device)
    return time.perf_counter()

"""Copies between host and device that neither waits for, and what the host may ask of the device when.

On a GPU the host only queues work. Every number that it wants to know it has to wait for, and meanwhile the queue runs empty.
On the CPU nothing is copied and nothing waits.
"""

import numpy as np
import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`. From pageable memory a copy would wait for all that the GPU has been given to do."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Download:
    """The copy of a device tensor to the host, begun at once: what is given to the GPU afterwards runs meanwhile."""

    def __init__(self, tensor: Tensor):
        self.event = None
        if tensor.device.type != "cuda":
            self.host = tensor.detach().cpu()
            return
        self.host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self.host.copy_(tensor.detach(), non_blocking=True)
        self.event = torch.cuda.Event()
        self.event.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> np.ndarray:
        """The values, once they are here."""
        if self.event is not None:
            self.event.synchronize()
        return self.host.numpy()


def waiting_is_dear(device: torch.device) -> bool:
    """Whether it is better to compute a little in vain than to ask the device what is needed."""
    return device.type == "cuda"


def on_host(*numbers: Tensor) -> list[float]:
    """Several numbers that the device computes, for one wait."""
    return Download(torch.stack([number.to(torch.float32) for number in numbers])).wait().tolist()


def rows_where(chosen: Tensor, count: int) -> Tensor:
    """Where B booleans are true, in order, if it is known that `count` are: unlike `nonzero` it waits for nothing."""
    return chosen.to(torch.uint8).argsort(descending=True, stable=True)[:count]

"""Copies between host and device without waiting, and the few places where the host waits for a value.

On a GPU the host only queues work. Reading a number back makes the host wait, and meanwhile the queue runs empty.
On the CPU nothing is copied and nothing waits.
"""

import numpy as np
import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`. A copy from pageable memory would wait for all queued GPU work, so memory is pinned first."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Download:
    """An asynchronous copy of a device tensor to the host; work queued on the GPU afterwards runs meanwhile."""

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


def waiting_is_costly(device: torch.device) -> bool:
    """True if reading a value back from the device costs more than computing a little too much (on a GPU)."""
    return device.type == "cuda"


def together(*numbers: Tensor) -> Tensor:
    """Several scalar tensors in one."""
    return torch.stack([number.to(torch.float32) for number in numbers])


def on_host(numbers: Tensor) -> list[float]:
    """The values of a tensor on the host, with a single wait."""
    return Download(numbers).wait().tolist()


def rows_where(chosen: Tensor, count: int) -> Tensor:
    """Indices of the true ones of B booleans, in order; as `count` is known in advance, there is no wait, unlike `nonzero`."""
    return chosen.to(torch.uint8).argsort(descending=True, stable=True)[:count]

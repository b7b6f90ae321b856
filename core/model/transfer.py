"""Copies between host and device that neither waits for; on the CPU there is nothing to copy."""

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

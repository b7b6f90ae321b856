"""The same bits every time: which algorithms a GPU may choose from.

A GPU adds in whatever order its parts finish, so two runs of one training drift apart from the first step on, and a resumed
run from one that was not killed. torch has algorithms with a fixed order for nearly everything; what they cost as used now has
not been measured (docs/gpu.md). On a CPU the order is fixed as it is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from core.errors import TrainingError

WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself with buffers of one size; it reads this once
UNREPEATABLE = "does not have a deterministic implementation"  # torch's words


@contextmanager
def repeatable(device: torch.device, wanted: bool) -> Iterator[None]:
    """Until the block ends, a GPU computes in a fixed order if that is wanted.

    Raises:
        TrainingError: an operation has no such algorithm.
    """
    if not wanted or device.type != "cuda":
        yield
        return
    os.environ.setdefault(*WORKSPACE)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)  # with warn_only, attention would keep its fastest algorithm
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check on programs that read what they never wrote
    try:
        yield
    except RuntimeError as error:
        if UNREPEATABLE not in str(error):
            raise
        operation = str(error).split()[0]
        raise TrainingError(
            f"{operation} cannot be computed in a fixed order on this GPU; set Optimisation.deterministic = False, and "
            "runs of one seed will differ a little"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled

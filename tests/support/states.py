"""What a training has left to resume from."""

import torch

from core.run_files import STATES


def states(out):
    return [path.name for path in sorted((out / STATES).iterdir())]


def saved_tensors(out):
    (state,) = (out / STATES).iterdir()
    return torch.load(state / "state.pt", weights_only=True)["model"]

"""Models that a training begins with, and models that have begun with one."""

import torch

from core.experiment.experiment import load
from core.train.run import build_model
from core.weights.checkpoint import save_model
from tests.support.checkout import BASELINE, MICRO_SIZE


def images(count=3, size=MICRO_SIZE):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def saved(folder, row=BASELINE, *bindings, seed=7):
    """A run directory with the model of a row as it would start: weights unlike those of other tests."""
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load(row, "smoke", bindings)
    torch.manual_seed(seed)
    model = loaded.experiment.model(load_weights=False, start=None)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_model(model, loaded.training, {}, folder)
    return folder


def begun(start, *bindings, row=BASELINE, seed=0):
    return build_model(load(row, "smoke", [f"START = '{start}'", *bindings]), seed).eval()


def outputs(model, size=MICRO_SIZE):
    prediction = model.predict(images(size=size))
    return [prediction.visual_ar, prediction.visual, *([] if prediction.cross is None else [prediction.cross])]

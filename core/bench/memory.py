"""Memory of one training step, and the part of it that is kept for the backward pass."""

import argparse
import re
import resource
import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from core.bench.measure import Measurement, build, measurement, report
from core.experiment.experiment import load
from core.model.clip4str import CLIP4STR
from core.runtime.compute import pick_device

WORDS = ("table", "of", "reading", "networks")  # labels of the made-up images
MEGA = 1e6
STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
NOTE = (
    "reference: the last row. gradients, moments: of what is trained, with AdamW. kept: activations that wait for the "
    "backward pass, of image tower and adapter, and of all. peak: growth of the most memory in use, of the device or, without "
    "one, of the process (which counts what the allocator keeps)."
)


def kept_for_backward(model: CLIP4STR, forward: Callable[[], object]) -> int:
    """Bytes that `forward` leaves in memory for the backward pass, the model's own weights apart."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result  # the graph holds what was kept until here
    return sum(kept.values())


def footprint(row: str, scale: str, batch: int, threads: int) -> dict[str, int]:
    """Bytes of one training step of a row in float32 on made-up images, in the process it is called in."""
    torch.set_num_threads(threads)
    model, loaded, device = build(row, scale)
    optimiser = loaded.experiment.optimisation.optimiser(model.train())
    images = torch.randn(batch, 3, *model.towers.image_size, device=device)
    words = [WORDS[i % len(WORDS)] for i in range(batch)]
    generator = torch.Generator().manual_seed(0)
    forget_peak(device)
    before = most_memory(device)
    model(images, words, generator).total.backward()
    optimiser.step()
    peak = most_memory(device) - before
    return {
        "weights": sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        "gradients, moments": 3 * 4 * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "kept, image": kept_for_backward(model, lambda: model.image_memory(images)),
        "kept, all": kept_for_backward(model, lambda: model(images, words, generator)),
        "peak": peak,
    }


def most_memory(device: torch.device) -> int:
    """The most memory in use since `forget_peak`, in bytes: of a GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.is_file():
        return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak(device: torch.device) -> None:
    """Let the peak start from what is in use now (where the system can: not on macOS)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif PEAK.exists():
        PEAK.write_text("5")


def memory_costs(rows: list[str], scale: str, batch: int, threads: int) -> Iterator[Measurement]:
    """Every row beside the last, each measured in a process of its own, so that no peak hides another."""
    footprints = {}
    for row in rows:
        load(row, scale)  # a name that is wrong costs no measurement of those before it
    for row in rows:
        with get_context("spawn").Pool(1) as pool:
            footprints[row] = pool.apply(footprint, (row, scale, batch, threads))
    device, last = torch.device(pick_device()), footprints[rows[-1]]
    for row, measured in footprints.items():
        for name, value in measured.items():
            details = {"row": Path(row).stem, "scale": scale, "batch": batch}
            yield measurement(name, [value / MEGA], [last[name] / MEGA], device, "MB", details)


def run(options: argparse.Namespace) -> None:
    costs = memory_costs(options.rows, options.scale, options.batch, torch.get_num_threads())
    report(costs, "One training step in float32", NOTE, options.json)

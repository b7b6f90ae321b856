"""Memory of one training step, and what of it waits for the backward pass."""

import re
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from core.experiment.experiment import load
from core.model.clip4str import CLIP4STR

WORDS = ("table", "of", "reading", "networks")  # labels of the made-up images
MEGA = 1e6
STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Footprint:
    """Memory of one training step, in bytes.

    Args:
        weights: all parameters.
        trained: gradients and AdamW's two moments of those that are trained.
        kept_image: activations of image tower and adapter that wait for the backward pass.
        kept: those of the whole model.
        peak: by how much the most memory ever in use grew in the step: of the device where there is one, else of the
            process (its resident size, which also counts what the allocator keeps).
    """

    weights: int
    trained: int
    kept_image: int
    kept: int
    peak: int


def kept_for_backward(model: CLIP4STR, forward) -> int:
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


def footprint(row: str, scale: str, batch: int, threads: int) -> Footprint:
    """One training step of a row in float32 on made-up images, with random weights, in the process it is called in."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    loaded = load(row, scale)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.experiment.model(load_weights=False).to(device).train()
    optimiser = loaded.experiment.optimisation.optimiser(model)
    images = torch.randn(batch, 3, *model.towers.image_size, device=device)
    words = [WORDS[i % len(WORDS)] for i in range(batch)]
    generator = torch.Generator().manual_seed(0)
    forget_peak(device)
    before = most_memory(device)
    model(images, words, generator).total.backward()
    optimiser.step()
    peak = most_memory(device) - before
    kept_image = kept_for_backward(model, lambda: model.image_memory(images))
    kept = kept_for_backward(model, lambda: model(images, words, generator))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return Footprint(weights, 3 * 4 * trained, kept_image, kept, peak)


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


def footprints(rows: Sequence[str], scale: str, batch: int, threads: int) -> dict[str, Footprint]:
    """Each row in a process of its own, so that no peak hides another."""
    found = {}
    for row in rows:
        with get_context("spawn").Pool(1) as pool:
            found[row] = pool.apply(footprint, (row, scale, batch, threads))
    return found


def show(found: dict[str, Footprint], title: str) -> None:
    """A table, every figure with its ratio to the last row's."""
    last = list(found.values())[-1]
    table = Table("row", "weights", "gradients, moments", "kept, image", "kept, all", "peak", title=title)
    for row, measured in found.items():
        cells = []
        for name, value in asdict(measured).items():
            reference = getattr(last, name)
            ratio = f" ({value / reference:.2f})" if reference else ""
            cells.append(f"{value / MEGA:.1f}{ratio}")
        table.add_row(Path(row).stem, *cells)
    Console().print(table)
    print("MB; in brackets the ratio to the last row. kept: activations that wait for the backward pass; peak: growth of")
    print("the device's peak in the step" if torch.cuda.is_available() else "the process's largest resident size in the step")

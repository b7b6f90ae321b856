"""Where the host waits for the device, in one training step and one reading.

On a GPU torch reports each wait (`torch.cuda.set_sync_debug_mode`). Without one, the operations that would wait are counted as
they are called: those whose result, or whose result's shape, the host has to know. Both add the waits for a `Download`, which
torch does not report.
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from core.bench.forced_outputs import forced_outputs
from core.bench.measure import build, device_name
from core.bench.read import forced_reading
from core.bench.train import training_steps
from core.bench.words import draw_words, letters_of
from core.files import ROOT
from core.model.transfer import Download
from core.runtime.compute import pick_device

aten = torch.ops.aten
WAITING = {  # the host reads a value, or the number of elements depends on values
    # item and is_nonzero arrive as such in inference mode, and as _local_scalar_dense elsewhere
    *(aten._local_scalar_dense.default, aten.item.default, aten.is_nonzero.default, aten.equal.default),
    *(aten.nonzero.default, aten.masked_select.default),
    *(aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default, aten.repeat_interleave.Tensor),
}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}  # wait where an index is a mask


MEASURED_FOLDERS = [ROOT / "adapters", *(ROOT / "core" / room for room in ("evaluate", "model", "train"))]


def project_place() -> str | None:
    """The innermost line of the measured code on the stack; None where the measurement itself waits."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path != Path(__file__) and path.parent == Path(__file__).parent:
            return None
        if path.name != "transfer.py" and any(path.is_relative_to(room) for room in MEASURED_FOLDERS):
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def note(places: Counter) -> None:
    """One more wait at the place on the stack."""
    if (place := project_place()) is not None:
        places[place] += 1


class Waiting(TorchDispatchMode):
    """Counts the operations that would wait on a GPU, by the line that calls them."""

    def __init__(self, places: Counter):
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masked = func in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        known = func is aten.repeat_interleave.Tensor and (kwargs or {}).get("output_size") is not None
        if masked or (func in WAITING and not known):
            note(self.places)
        return func(*args, **(kwargs or {}))


@contextmanager
def counted(device: torch.device) -> Iterator[Counter]:
    """A counter of waits by place, of what happens inside."""
    places: Counter = Counter()
    wait = Download.wait

    def noted(download: Download):
        note(places)
        return wait(download)

    with patch.object(Download, "wait", noted):
        if device.type != "cuda":
            with Waiting(places):
                yield places
            return
        torch.cuda.synchronize(device)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for warning in caught:
            if "synchroniz" in str(warning.message):
                path = Path(warning.filename)
                if path.parent != Path(__file__).parent:
                    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
                    places[f"{place}:{warning.lineno}"] += 1


def waits_of(work: Callable[[], object], device: torch.device) -> Counter:
    """The waits of one call, the first of which is not counted: it fills caches and chooses kernels."""
    work()
    with counted(device) as places:
        work()
    return places


def counts(row: str, scale: str, batch: int, lengths: str, guesses: str) -> Iterator[tuple[str, Counter]]:
    """Waits of a training step without logging, and of one reading, of a row with random weights on made-up images."""
    model, loaded, device = build(row, scale)
    images = torch.randn(batch, 3, *model.towers.image_size, device=device)
    words = draw_words(lengths, batch, 2, model.visual_decoder.max_outputs, letters_of(model.tokenizer.charset))
    labels = [[[word[: model.max_letters] for word in one]] for one in words]
    optimisation = loaded.experiment.optimisation
    steps = training_steps(model.train(), optimisation, optimisation.precision, images, labels, guesses)
    yield "training step", waits_of(steps(0), device)
    with forced_outputs(model.eval()) as outputs:
        yield "reading", waits_of(forced_reading(model, outputs, images, words, guesses, loaded.protocol)(0), device)


def run(options: argparse.Namespace) -> None:
    for row in options.rows:
        for batch in options.batch:
            for what, places in counts(row, options.scale, batch, options.lengths, options.guesses):
                found = {"row": row, "scale": options.scale, "batch": batch, "guesses": options.guesses, "what": what}
                found |= {"waits": places.total(), "places": dict(places.most_common())}
                if options.json:
                    print(json.dumps(found), flush=True)
                    continue
                print(f"{what} of {batch}, {options.guesses} guesses: {places.total()} waits for the device")
                for place, count in places.most_common():
                    print(f"  {count:4d}  {place}")
    if not options.json:
        device = torch.device(pick_device())
        how = "reported by torch" if device.type == "cuda" else "counted as operations that would wait on a GPU"
        print(f"On {device_name(device)}: {how}.")

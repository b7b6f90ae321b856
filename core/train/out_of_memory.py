"""Out of memory in training: a one-line error that names a DEVICE_BATCH, and no retry with the same DEVICE_BATCH."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from core.errors import TrainingError
from core.experiment.optim import Optimisation
from core.files import write_json
from core.run_files import OUT_OF_MEMORY
from core.runtime.compute import device_memory, is_out_of_memory


@contextlib.contextmanager
def out_of_memory_error(optimisation: Optimisation, processes: int, out: Path, attempt: int) -> Iterator[None]:
    """A context around a training that turns running out of memory into a one-line error.

    Args:
        attempt: the number of this attempt in a workflow; from the second on, a training that ran out of memory with the
            same DEVICE_BATCH is not repeated.

    Raises:
        TrainingError: memory ran out, now or at an earlier attempt.
    """
    images = optimisation.micro_batch(processes)
    try:
        earlier = json.loads((out / OUT_OF_MEMORY).read_text())
    except (OSError, ValueError):
        earlier = {"images": None}
    if attempt > 1 and earlier["images"] == images:
        raise TrainingError(f"{earlier['reason']} (not tried again: attempt {attempt} would meet the same)")
    (out / OUT_OF_MEMORY).unlink(missing_ok=True)
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = f"{device_memory()} has too little memory for {images} images at once"
        if images == 1:
            reason = f"{device_memory()} has too little memory for a single image: use a larger device or a smaller model"
        else:
            smaller = next((size for size in range(images // 2, 0, -1) if optimisation.batch % size == 0), 1)
            reason += (
                f": lower DEVICE_BATCH = {optimisation.device_batch} to {smaller} (the batch of {optimisation.batch} then "
                "takes more passes; nothing that is trained already is trained again)"
            )
        write_json(out / OUT_OF_MEMORY, {"images": images, "reason": reason})
        raise TrainingError(reason) from error

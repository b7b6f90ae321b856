"""This process's micro-batches; on a GPU the next one is copied to the device while the current one is used."""

from collections.abc import Generator, Iterator

import torch
from torch.utils.data import DataLoader

from core.data.loading import AHEAD, Batch, ShuffledBatches, Words, collate
from core.data.workers import delivered, leave_signals


def batches_of(words: Words, order: ShuffledBatches, workers: int, device: torch.device) -> Generator[Batch, None, None]:
    """The loaded batches; on a GPU their images are there, the next batch's are being copied.

    Raises:
        DataError: an LMDB, or the disk it lies on, is gone; names it.
    """
    loader = DataLoader(
        words,
        batch_sampler=order,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_signals,
    )
    batches = delivered(loader, words)
    yield from copied_ahead(batches, device) if device.type == "cuda" else batches


def copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Pinned batches with their images on a GPU, copied beside its work on the batch before."""
    beside = torch.cuda.Stream(device)
    waiting: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(beside):  # before the batch in use is handed out, so that both overlap
            begun = batch._replace(images=batch.images.to(device, non_blocking=True)), beside.record_event()
        if waiting is not None:
            yield arrived(*waiting)
        waiting = begun
    if waiting is not None:
        yield arrived(*waiting)


def arrived(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """The batch, which the GPU's work from here on may use: that waits for the copy, the host does not."""
    stream = torch.cuda.current_stream(batch.images.device)
    stream.wait_event(copied)
    batch.images.record_stream(stream)  # memory of the other stream: not to be given away while this one reads it
    return batch

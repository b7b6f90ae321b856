"""This process's micro-batches, and what is said when the data goes away under a run."""

import signal
from collections.abc import Generator

from torch.utils.data import DataLoader

from core.data.errors import DataError
from core.data.loading import AHEAD, Batch, ShuffledBatches, Words, collate
from core.optim import Optimisation
from core.team import Team

PATIENCE = 40  # seconds; a training that was asked to stop takes less


def shuffled(words: Words, optimisation: Optimisation, team: Team, seed: int, first: int, last: int) -> ShuffledBatches:
    """Which samples this process reads in steps first, ..., last - 1; together the processes read the same ones always."""
    micro_batch = optimisation.micro_batch(team.size)
    return ShuffledBatches(len(words), optimisation.batch, seed, first, last, micro_batch, team.index, team.size)


def batches_of(words: Words, order: ShuffledBatches, workers: int, pinned: bool) -> Generator[Batch, None, None]:
    """The loaded batches.

    Raises:
        DataError: an LMDB, or the disk it lies on, is gone; names it.
    """
    loader = DataLoader(
        words,
        batch_sampler=order,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=collate,
        pin_memory=pinned,
        worker_init_fn=leave_signals,
    )
    try:
        yield from loader
    except DataError as error:  # of a worker: its message comes with a traceback
        raise DataError(str(error).strip().splitlines()[-1].removeprefix("core.data.errors.DataError: ")) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        lmdbs = ", ".join(str(lmdb.path) for lmdb in words.lmdbs)
        raise DataError(f"{error}, while it read {lmdbs}: is the disk they lie on still there, and memory enough?") from error


def leave_signals(_worker: int) -> None:
    """Loader processes stop when the training does; a signal to all of a job's processes must not take them first.

    SIGTERM ends them in a while all the same, so that nobody waits for one that does not see its training end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(PATIENCE))

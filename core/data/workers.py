"""Loader processes: the signals they leave to their parent, and what is said when the data goes away under them."""

import signal
from collections.abc import Iterator

from torch.utils.data import DataLoader

from core.data.loading import Batch, Words
from core.errors import DataError

PATIENCE = 40  # seconds; a training that was asked to stop takes less


def delivered(loader: DataLoader, words: Words) -> Iterator[Batch]:
    """The loader's batches of `words`.

    Raises:
        DataError: an LMDB, or the disk it lies on, is gone; names it.
    """
    try:
        yield from loader
    except DataError as error:  # of a worker: its message comes with a traceback
        raise DataError(str(error).strip().splitlines()[-1].removeprefix("core.errors.DataError: ")) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        lmdbs = ", ".join(str(lmdb.path) for lmdb in words.lmdbs)
        raise DataError(f"{error}, while it read {lmdbs}: is the disk they lie on still there, and memory enough?") from error


def leave_signals(_worker: int) -> None:
    """Loader processes stop when their parent does; a signal to all of a job's processes must not take them first.

    SIGTERM ends them in a while all the same, so that nobody waits for one that does not see its parent end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(PATIENCE))

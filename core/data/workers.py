"""Loader processes: how they treat signals, and the error if the data disappears while they read."""

import signal
from collections.abc import Iterator

from torch.utils.data import DataLoader

from core.data.loading import Batch, Words
from core.errors import DataError, PassingError

PATIENCE = 40  # seconds; a training that is told to stop needs less


def delivered(loader: DataLoader, words: Words) -> Iterator[Batch]:
    """The loader's batches of `words`; raises DataError, naming the LMDB, if it or its disk has gone."""
    try:
        yield from loader
    except DataError as error:  # from a worker, whose message contains its traceback
        kind = type(error)
        raise kind(str(error).strip().splitlines()[-1].removeprefix(f"{kind.__module__}.{kind.__name__}: ")) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        lmdbs = ", ".join(str(lmdb.path) for lmdb in words.lmdbs)
        raise PassingError(f"{error}, while it read {lmdbs}: is their disk still there, and is there enough memory?") from error


def leave_signals(_worker: int) -> None:
    """Loader processes stop when their parent does: a signal to all processes of a job must not end them before it.

    SIGTERM ends them after PATIENCE, so that nobody waits for one that does not notice its parent's end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(PATIENCE))

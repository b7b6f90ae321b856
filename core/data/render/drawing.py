"""Numbered images drawn by one process or several, and handed over in order.

The word list behind a drawing is long, so a process gets the drawing once and then numbers alone.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from typing import TypeVar

CHUNK = 64  # images a process draws before it hands them over
HERE: dict[str, Callable] = {}  # what a worker process draws
Drawing = TypeVar("Drawing")


def numbered(draw: Callable[[int], Drawing], count: int, workers: int) -> Iterator[Drawing]:
    """draw(0), ..., draw(count - 1), the same and in this order whatever the number of processes.

    Raises:
        OSError: a process died.
    """
    if workers == 1:
        yield from map(draw, range(count))
        return
    chunks = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    with ProcessPoolExecutor(max(1, min(workers, len(chunks))), initializer=remember, initargs=(draw,)) as pool:
        try:
            yield from chain.from_iterable(pool.map(drawn_here, chunks))
        except BrokenProcessPool as error:
            raise OSError("a process that draws images died (out of memory, mostly): try fewer --workers") from error


def remember(draw: Callable) -> None:
    """The initializer of a worker process."""
    HERE["draw"] = draw


def drawn_here(chunk: range) -> list:
    return [HERE["draw"](number) for number in chunk]

"""The outside readers, by the names that the command knows them by."""

from collections.abc import Callable

from core.peers import rapidocr
from core.peers.reader import Reader

READERS: dict[str, Callable[[int], Reader]] = {rapidocr.NAME: rapidocr.open_reader}  # from a number of CPU threads

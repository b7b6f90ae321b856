"""The peer readers by their names on the command line; a new one is a module of this folder and its line here."""

from collections.abc import Callable

from core.peers import rapidocr
from core.peers.reader import Reader

READERS: dict[str, Callable[[int], Reader]] = {rapidocr.NAME: rapidocr.open_reader}  # from a number of CPU threads

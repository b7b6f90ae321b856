"""Errors that a user can cause, and how commands print them. Imports nothing heavy, so that `--help` stays fast."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path


class UserError(ValueError):
    """Base of all errors that a user can cause and fix; the message is one line that names the culprit and the fix."""


class ConfigError(UserError):
    """A configuration that cannot be built; the message names the file and the binding."""


class DataError(UserError):
    """Data that cannot be used as it is; the message names the file, the key and the fix."""


class PassingError(DataError):
    """Data that could not be read this time (its disk went away, a process was killed), which says nothing about the data."""


class UnreadableImage(UserError):
    """One sample's image cannot be decoded."""


class UnsafeFile(UserError):
    """A file that would run code if it were loaded; the message names it and the code."""


class TrainingError(UserError):
    """A training run that cannot continue; the last saved state is kept."""


class DeviceError(UserError):
    """GPUs that cannot be listed, or that CUDA_VISIBLE_DEVICES names wrongly."""


class PeerUnavailable(UserError):
    """A peer reader (core.peers) cannot be opened; the message says what to install."""


class ReportError(UserError):
    """A table that cannot be made; the message names file, row and key, and the fix."""


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Print a UserError or OSError as one line on stderr and exit with status 1.

    An interruption exits with status 130, and an output that nobody reads any more (`| head`) ends the command without a
    word, with status 141. Everything else, a bare ValueError included, is a bug and keeps its traceback.
    """
    try:
        yield
        sys.stdout.flush()  # here, not when the interpreter ends, which would report a closed pipe
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and output_is_closed():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
            sys.exit(128 + signal.SIGPIPE)  # as a shell says of a command that this signal ends
        print(f"error: {' '.join(described(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def described(error: Exception) -> str:
    """The message of an error; of one of the operating system, what is wrong with which file, without its number."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str | os.PathLike):
        return str(error)
    path = Path(error.filename)
    if isinstance(error, NotADirectoryError):
        file = next((folder for folder in [path, *path.parents] if folder.is_file()), path)
        return f"{file} is a file, not a folder" + (f", so {path} cannot be there" if file != path else "")
    known = {
        FileNotFoundError: "does not exist",
        IsADirectoryError: "is a folder, not a file",
        FileExistsError: "exists already",
    }
    for kind, problem in known.items():
        if isinstance(error, kind):
            return f"{path} {problem}"
    return f"{path}: {error.strerror}"


def output_is_closed() -> bool:
    """Whether nobody reads this command's output any more; a BrokenPipeError may also come from another pipe."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def one_line(error: BaseException) -> str:
    """The kind of an error, and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])

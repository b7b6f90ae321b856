"""Files and folders that are written whole or not at all, their digests, and text in UTF-8."""

import contextlib
import errno
import glob
import hashlib
import json
import math
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
from safetensors import SafetensorError

from core.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
ABLATIONS = ROOT / "ablations"


def in_repository(path: str) -> Path:
    """A path of a gin file: relative to the repository root, or to the working directory if there is nothing in the former.

    A checkout that is used from another one's folder reads its own files, whatever lies in that folder.
    """
    return Path(path) if Path(path).exists() and not (ROOT / path).exists() else ROOT / path


def from_command_line(path: Path | str) -> Path:
    """A path of a command line: relative to the working directory, or to the repository root if there is nothing there."""
    return Path(path) if Path(path).exists() else ROOT / path


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Writing errors (a full disk, mostly) become an OSError that names `path`, whatever library reports them."""
    try:
        yield
    except (SafetensorError, lmdb.Error) as error:
        raise OSError(f"{path} could not be written: {error}") from error
    except OSError as error:
        if str(path) in str(error):
            raise
        raise OSError(f"{path} could not be written: {error}") from error


def no_folder(path: Path) -> str:
    """Why a path that is to be a folder is none, for messages."""
    return "is a file, not a folder" if path.exists() else "does not exist"


def refuse_existing(out: Path, replaced: Sequence[str] = ()) -> None:
    """Raise DataError if a folder that is to be written is a file, or holds something already.

    Args:
        replaced: names of files that may be there, as an earlier call of the same command left them.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} exists and is not a folder: name another")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in replaced) if out.exists() else []
    if foreign:
        raise DataError(f"{out} exists and is not an empty folder, it holds {foreign[0]}: name another, or delete it")


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to write into; it replaces `path` if the block succeeds, and is removed if it fails.

    Its name is the writer's own, as in `atomic_file`: of several writers none empties what another one writes.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay; "." and ".." have no name to add to
    drop_stale(path)
    partial = partial_name(path)
    partial.mkdir(parents=True)
    try:
        with named_errors(path):
            yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` (a rename within one file system is atomic); renamed to it if the block succeeds.

    Every writer has a name of its own, so of several that write one file at once the last decides, and none fails. What a
    killed writer left behind is removed by the next one on the same machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    drop_stale(path)
    partial = partial_name(path)
    try:
        with named_errors(path):
            yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partial_name(path: Path) -> Path:
    """A name beside `path` that no other writer of it has."""
    return path.with_name(f"{path.name}.{machine()}-{os.getpid()}-{secrets.token_hex(4)}.partial")


def sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where its file system can do that."""
    try:
        sync(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise


def machine() -> str:
    """8 hex digits of where this process's number means something: the host and, in a container, its own numbers."""
    numbers = Path("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {numbers.readlink() if numbers.exists() else ''}".encode()).hexdigest()[:8]


def drop_stale(path: Path) -> None:
    """Remove what writers of `path` that have ended left beside it, also under the one name that earlier versions used."""
    named = re.compile(rf"{re.escape(path.name)}\.({machine()}-(?P<pid>\d{{1,9}})-[0-9a-f]+\.)?partial")
    for file in path.parent.glob(f"{glob.escape(path.name)}.*partial"):
        writer = named.fullmatch(file.name)
        if writer and not (writer["pid"] and is_alive(int(writer["pid"]))):
            with contextlib.suppress(OSError):  # someone else's, or gone already
                shutil.rmtree(file) if file.is_dir() else file.unlink()


def is_alive(pid: int) -> bool:
    """Whether a process of this machine, whoever's it is, still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process, so it is there
    return True


def lines_digest(lines: Iterable[str]) -> str:
    """16 hex digits that change with any of the lines and with their order."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def write_if_changed(path: Path, text: str) -> None:
    """Write a file unless it has that content already: Snakemake would rerun whatever depends on a newer file."""
    if not path.is_file() or path.read_text() != text:
        with atomic_file(path) as partial:
            partial.write_text(text)


def write_if_missing(path: Path, text: str) -> None:
    """Write a file unless there is one."""
    if not path.is_file():
        write_if_changed(path, text)


def read_utf8(path: Path) -> str:
    """The text of a file in UTF-8, with or without a mark of it at the beginning.

    Raises:
        DataError: it is not UTF-8, naming line and byte.
    """
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8") from error


def file_digest(path: Path, edge: int = 1 << 20) -> str:
    """16 hex digits of a file's size and its first and last `edge` bytes: fast for files of any size."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as data:
        digest.update(data.read(edge))
        data.seek(max(0, size - edge))
        digest.update(data.read(edge))
    return digest.hexdigest()[:16]


def append_json(path: Path, entry: dict[str, Any]) -> None:
    """Add one line to a file of JSON lines; numbers that are not finite become null."""
    with named_errors(path), path.open("a", encoding="utf-8", errors="backslashreplace") as lines:  # as write_json
        print(json_text(entry), file=lines)


def json_text(content: Any, indent: int | None = None) -> str:
    """Content as JSON; numbers that are not finite, for which JSON has no word and Python writes NaN, become null."""
    return json.dumps(finite(content), indent=indent, ensure_ascii=False, allow_nan=False)


def finite(content: Any) -> Any:
    """Content with None in place of numbers that are not finite."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: Any) -> None:
    """JSON in UTF-8; bytes of a file name that are not UTF-8 become JSON's escapes, which read back as the same name."""
    with atomic_file(path) as partial:
        partial.write_text(json_text(content, indent=2) + "\n", encoding="utf-8", errors="backslashreplace")


def text_digest(text: str) -> str:
    """Eight hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_json_object(path: Path) -> dict:
    """A JSON object; DataError where the file does not hold one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected a run directory as core.train leaves it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} does not hold a JSON object; train or evaluate the run again")
    return content

"""gin files as text: what they include, and which of their lines count at a scale.

- `include` paths start at the repository root (or in the working directory, for what is not there), and `{scale}` in a path is
  replaced by the scale in use (paper, small, micro, smoke).
- Sections: lines below `[paper]`, `[small]`, `[micro]` or `[smoke]` count at that scale only, lines below `[micro, small]` at
  both, and lines above the first section at every scale. Smoke is a smaller micro, so it also reads what micro reads.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.choices import SCALES
from core.errors import ConfigError
from core.files import ROOT

SECTION = re.compile(r"\[\s*(?P<scales>\w+(?:\s*,\s*\w+)*)\s*\]\s*(?:#.*)?$")
INCLUDE = re.compile(r"""^\s*include\s+(['"])(?P<path>[^'"]+)\1\s*(#.*)?$""")
EVERY: tuple[str, ...] = ()  # the section of lines that count at every scale
WORLD_OF = "ablations/{scale}/world.gin"  # the rendered world of a scale that has one


def scales_read(scale: str) -> tuple[str, ...]:
    """The scales whose sections and files are read, in order: smoke reads micro's, then its own."""
    return ("micro", "smoke") if scale == "smoke" else (scale,)


def find_include(name: str, scale: str) -> Path | None:
    """The file that an include names: relative to the repository root or the working directory, with {scale} filled in."""
    filled = [name, *(name.replace("{scale}", read) for read in reversed(scales_read(scale)))]
    return next((prefix / path for prefix in (ROOT, Path()) for path in filled if (prefix / path).is_file()), None)


def read_gin(path: Path) -> str:
    """A gin file's text, without a byte order mark.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        order = error.object[:2]
        what = f"UTF-16 (byte order mark {order.hex(' ').upper()})" if order in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8"
        raise ConfigError(f"{path} is {what}; save it as UTF-8") from error


def titled(path: Path | str, bindings: Sequence[str]) -> str:
    """A gin file as messages call it, with the bindings from elsewhere: the culprit may be among these."""
    return " with ".join([str(path), *filter(None, [", ".join(bindings)])])


def world_of(scale: str, world: str = WORLD_OF) -> str | None:
    """The gin file of the world that a scale renders, as counted from the repository root; None where it needs real data.

    Args:
        world: its path, with {scale} for the scale's name.
    """
    names = [world.replace("{scale}", read) for read in reversed(scales_read(scale))]
    return next((name for name in names if (ROOT / name).is_file()), None)


def sections_of(path: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """The lines of a gin file, each with the scales of the section that it is in (EVERY above the first).

    Headers become empty lines.

    Raises:
        ConfigError: a section is not named after scales.
    """
    section = EVERY
    for line in read_gin(path).splitlines(keepends=True):
        header = SECTION.match(line)
        if header:
            section = tuple(name.strip() for name in header["scales"].split(","))
            for name in section:
                if name not in SCALES:
                    raise ConfigError(
                        f"{path}: [{header['scales']}]: expected one of {', '.join(f'[{scale}]' for scale in SCALES)}, "
                        "or several as in [micro, small]"
                    )
        yield section, "\n" if header else line


def text_at(path: Path, scale: str) -> str:
    """A gin file's text at a scale: lines of other scales become empty, so that line numbers in messages stay right.

    Raises:
        ConfigError: a section is not named after a scale.
    """
    read = set(scales_read(scale))
    return "".join(line if section == EVERY or read & {*section} else "\n" for section, line in sections_of(path))


def lengthened(chain: tuple[Path, ...], path: Path) -> tuple[Path, ...]:
    """A chain of files that include each other, with the next one.

    Raises:
        ConfigError: the next one is in it already.
    """
    if path.resolve() in chain:
        circle = " includes ".join(map(str, (*chain[chain.index(path.resolve()) :], path.resolve())))
        raise ConfigError(f"{path}: {circle}: take one of these includes out")
    return (*chain, path.resolve())


def refuse_circle(path: Path, scale: str, chain: tuple[Path, ...] = ()) -> None:
    """Raise ConfigError if a gin file includes itself at a scale, perhaps through another one: gin would read without end."""
    chain = lengthened(chain, path)
    for line in text_at(path, scale).splitlines():
        include = INCLUDE.match(line)
        if include and (below := find_include(include["path"], scale)):
            refuse_circle(below, scale, chain)


def pasted(path: Path, chain: tuple[Path, ...] = ()) -> str:
    """A gin file's text with that of its includes in their places.

    Args:
        chain: the files that it is included by.

    Raises:
        ConfigError: a file is not there, or includes itself.
    """
    lines, chain = [], lengthened(chain, path)
    for line in read_gin(path).splitlines():
        include = INCLUDE.match(line)
        included = find_include(include["path"], "micro") if include else None
        if include and included is None:
            raise ConfigError(f"{path}: include {include['path']!r}: no such gin file")
        lines.append(pasted(included, chain) if included else line)
    return "\n".join(lines)

"""The only module that imports gin: parses gin files, builds objects from them, and raises an error for unused bindings.

gin files bind constructor arguments by their Python names. Two features are not plain gin:

- `include` paths start at the repository root, and `{scale}` in a path is replaced by the scale in use (paper, small, micro,
  smoke).
- Sections: lines below `[paper]`, `[small]`, `[micro]` or `[smoke]` count at that scale only, lines below `[micro, small]` at
  both, and lines above the first section at every scale. Smoke is a smaller micro, so it also reads what micro reads.

A value that a file sets and that is set to something else below it, by the file or by one of its includes, is an error.
"""

import contextlib
import hashlib
import importlib
import io
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import gin
from gin import config_parser

from core.choices import SCALES
from core.errors import ConfigError
from core.files import ROOT
from core.moved import with_new_names
from core.weights.allowlist import check_allowlist

Built = TypeVar("Built")
SECTION = re.compile(r"\[\s*(?P<scales>\w+(?:\s*,\s*\w+)*)\s*\]\s*(?:#.*)?$")
INCLUDE = re.compile(r"""^\s*include\s+(['"])(?P<path>[^'"]+)\1\s*(#.*)?$""")
EVERY: tuple[str, ...] = ()  # the section of lines that count at every scale
WORLD_OF = "ablations/{scale}/world.gin"  # the rendered world of a scale that has one
BASE = ROOT / "ablations" / "base.gin"  # with what it includes, defaults that rows start from


def parse(path: Path | str, scale: str = "micro", bindings: Sequence[str] = ()) -> None:
    """Forget any earlier configuration and read `path`, then single bindings like "TRAIN_STEPS = 10".

    Raises:
        ConfigError: the file does not exist or does not parse, a required value is missing, a value of a file is set again
            below it, or the scale is unknown.
    """
    if scale not in SCALES:
        raise ConfigError(f"scale {scale!r}: expected one of {', '.join(SCALES)}")
    path = Path(path)
    if not path.is_file() and not (ROOT / path).is_file():
        raise ConfigError(f"{path}: no such gin file")
    gin.clear_config()
    resolve_includes(scale)
    try:
        gin.parse_config_files_and_bindings([str(path)], list(bindings), finalize_config=False)
    except (SyntaxError, NameError, AttributeError, ImportError, ValueError, OSError) as error:
        raise ConfigError(f"{path}: {first_line(error)}") from error
    refuse_overwritten(path if path.is_file() else ROOT / path, scale)
    for (scope, selector), bound in gin.config._CONFIG.items():
        for name, value in bound.items():
            if value is gin.REQUIRED or repr(value) == "%gin.REQUIRED":
                key = scope if selector == "gin.macro" else f"{selector}.{name}"
                raise ConfigError(f"{path}: {key} is required here and has no value; add a line like `{key} = ...`")


def replace_values(arguments: Collection[str], replace: Callable[[str, object], object]) -> None:
    """Replace values of the parsed configuration before anything is built; where a macro carries one, the macro's.

    Args:
        arguments: like "CLIP4STR.charset".
        replace: from the name that has the value, a macro's or the argument's, and the value, to the new value.
    """
    bound = gin.config._CONFIG
    places = [
        (key, name) for key, values in bound.items() for name in values if f"{key[1].rpartition('.')[2]}.{name}" in arguments
    ]
    for key, name in places:
        value, called = bound[key][name], f"{key[1].rpartition('.')[2]}.{name}"
        while repr(value).startswith("%") and (macro := (repr(value)[1:], "gin.macro")) in bound:  # a macro may name a macro
            key, name, called, value = macro, "value", macro[0], bound[macro]["value"]
        if not repr(value).startswith("%"):  # a macro that is not set: gin says so when it is used
            bound[key][name] = replace(called, value)


def scales_read(scale: str) -> tuple[str, ...]:
    """The scales whose sections and files are read, in order: smoke reads micro's, then its own."""
    return ("micro", "smoke") if scale == "smoke" else (scale,)


def find_include(name: str, scale: str) -> Path | None:
    """The file that an include names: relative to the working directory or the repository root, with {scale} filled in."""
    filled = [name, *(name.replace("{scale}", read) for read in reversed(scales_read(scale)))]
    return next((prefix / path for prefix in (Path(), ROOT) for path in filled if (prefix / path).is_file()), None)


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


def world_of(scale: str) -> str | None:
    """The gin file of the world that a scale renders, as counted from the repository root; None where it needs real data."""
    names = [WORLD_OF.format(scale=read) for read in reversed(scales_read(scale))]
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


def resolve_includes(scale: str) -> None:
    """Let gin read files as `find_include` and `text_at` do."""
    gin.config._LOCATION_PREFIXES[:] = [""]
    gin.config._FILE_READERS[:] = [
        (
            lambda name: io.StringIO(text_at(find_include(name, scale), scale)),
            lambda name: find_include(name, scale) is not None,
        )
    ]


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Put what is parsed so far aside: whatever is parsed inside is forgotten afterwards, and the first is there again."""
    stores = (gin.config._CONFIG, gin.config._IMPORTS, gin.config._SINGLETONS, gin.config._OPERATIVE_CONFIG)
    before = [store.copy() for store in stores]
    try:
        yield
    finally:
        gin.clear_config()
        for store, content in zip(stores, before, strict=True):
            store.update(content)


def construct(cls: type[Built], path: Path | str) -> Built:
    """An instance of `cls` from the parsed configuration; `path` is for the message.

    Raises:
        ConfigError: an argument has no value, or its class refuses it.
    """
    return construct_with(gin.get_configurable(importable(cls)), path)


def importable(cls: type[Built]) -> type[Built]:
    """The class as gin files import it, when its module is the one being run (`python -m`)."""
    if cls.__module__ != "__main__":
        return cls
    return getattr(importlib.import_module(sys.modules["__main__"].__spec__.name), cls.__qualname__)


def construct_with(make: Callable[[], Built], path: Path | str) -> Built:
    """`make()`, with its errors raised as ConfigError."""
    try:
        return make()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """gin's error as one sentence: the problem and the class that was being built."""
    text = str(error)
    unset = re.search(r"(\w+)\(\) missing \d+ required \S+ arguments?: ([^\n]+)", text)
    if unset:
        return f"{unset[1].removesuffix('.__init__')} needs a value for {unset[2]}"
    return first_line(error)


def first_line(error: Exception) -> str:
    """An exception's message up to gin's trace of configurables."""
    text = str(error).strip()
    return " ".join(re.split(r"\n\s+In call to|\n\n", text)[0].split())


def refuse_unread(path: Path | str, bindings: Sequence[str] = ()) -> None:
    """Raise ConfigError if a binding or macro was not used in building the objects (mostly a misspelt name).

    Bindings of an included file may go unused if the row replaced the class that they are for (an image tower instead of
    both towers, for example). Bindings of the row itself or of the command line may not.

    Raises:
        ConfigError: naming them all.
    """
    read = gin.config._OPERATIVE_CONFIG
    built = {selector for _, selector in read}
    own = own_names(path, bindings)
    replaced_macros, unread, unread_macros = set(), [], []
    for (scope, selector), bound in gin.config._CONFIG.items():
        used = [values for (s, sel), values in read.items() if sel == selector and (s == scope or s.endswith("/" + scope))]
        if not scope:
            used = [values for (_, sel), values in read.items() if sel == selector]
        for name, value in bound.items():
            key = f"{scope + '/' if scope else ''}{selector}.{name}"
            mine = any(key == ours or key.endswith("." + ours) for ours in own)
            if any(name in values and (not mine or repr(values[name]) == repr(value)) for values in used):
                continue
            if selector == "gin.macro":
                unread_macros.append(scope)
            elif selector in built or mine:
                unread.append(key)
            else:
                replaced_macros.add(repr(value))
    unread += [name for name in unread_macros if name in own or f"%{name}" not in replaced_macros]
    if unread:
        known = sorted(scope for scope, selector in read if selector == "gin.macro")
        raise ConfigError(
            f"{path}: nothing reads {', '.join(sorted(unread))}. Check the spelling; macros in use: {', '.join(known)}"
        )


def own_names(path: Path | str, bindings: Sequence[str]) -> set[str]:
    """Names of the macros and parameters that a gin file itself (without includes) or the command line binds."""
    path = Path(path)
    text = read_gin(path if path.is_file() else ROOT / path)
    return set(re.findall(r"^\s*([\w./]+)\s*=", "\n".join([text, *bindings]), re.MULTILINE))


def build(cls: type[Built], path: Path | str, scale: str = "micro", bindings: Sequence[str] = ()) -> Built:
    """Parse, construct one object, raise ConfigError for unused bindings."""
    parse(path, scale, bindings)
    built = construct(cls, path)
    refuse_unread(path, bindings)
    return built


def maker_from_text(cls: type[Built], text: str, source: Path) -> Callable[..., Built]:
    """A factory of `cls` from the gin text of a saved model; `source` is the file that it came from, for messages."""
    gin.clear_config()
    text = with_new_names(text)
    try:
        refuse_foreign(text, source)
        gin.parse_config(text)
    except ConfigError:
        raise
    except (SyntaxError, NameError, AttributeError, ImportError, ValueError) as error:
        raise ConfigError(f"{source}: {first_line(error)}") from error
    return gin.get_configurable(importable(cls))


def operative() -> str:
    """Everything read so far, defaults included, as a gin file that parses back."""
    return gin.operative_config_str(max_line_length=120)


class Names(config_parser.ParserDelegate):
    """Reads gin text without importing what it names: references stay words, macros become the values known so far."""

    def __init__(self, macros: dict[str, object]):
        self.macros = macros
        self.references: list[str] = []

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        self.references.append(scoped_configurable_name)
        return f"@{scoped_configurable_name}{'()' * evaluate}"

    def macro(self, macro_name: str) -> object:
        return self.macros.get(macro_name, f"%{macro_name}")


class Paths(Names):
    """As `Names`, with references by the paths of the modules that the text imported so far."""

    def __init__(self, macros: dict[str, object]):
        super().__init__(macros)
        self.modules: dict[str, str] = {}

    def learn(self, statement: config_parser.ImportStatement) -> None:
        """Take in what an import binds: `import a.b` binds a."""
        bound = statement.bound_name()
        self.modules[bound] = statement.module if statement.is_from or statement.alias else bound

    def path(self, selector: str) -> str:
        """The full dotted name of something imported."""
        bound, _, inner = selector.partition(".")
        return f"{self.modules.get(bound, bound)}.{inner}" if inner else selector

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        scope, _, selector = scoped_configurable_name.rpartition("/")
        return super().configurable_reference("/".join(filter(None, (scope, self.path(selector)))), evaluate)


def bindings_of(text: str) -> dict[str, object]:
    """The bindings of a gin text, by the names that it uses; imports nothing and does not change the parsed configuration.

    Raises:
        SyntaxError: it is not valid gin text.
    """
    found: dict[str, object] = {}
    for statement in config_parser.ConfigParser(text, Names(found)):
        if isinstance(statement, config_parser.BindingStatement):
            scoped = "/".join(filter(None, (statement.scope, statement.selector)))
            found[".".join(filter(None, (scoped, statement.arg_name)))] = statement.value
    return found


def values_by_path(text: str) -> dict[str, object]:
    """The bindings of a gin text by full dotted names (`core.experiment.optim.Optimisation.eps`), with macros filled in.

    References are written with the full path, like `@core.model.decoder.Decoder`, whatever name the text imported it under.

    Raises:
        SyntaxError: it is not valid gin text.
    """
    macros: dict[str, object] = {}
    found: dict[str, object] = {}
    names = Paths(macros)
    for statement in config_parser.ConfigParser(text, names):
        if isinstance(statement, config_parser.ImportStatement):
            names.learn(statement)
        elif isinstance(statement, config_parser.BindingStatement):
            if statement.arg_name:
                scope = "" if statement.scope in macros else statement.scope  # gin writes what a macro refers to so
                scoped = "/".join(filter(None, (scope, names.path(statement.selector))))
                found[f"{scoped}.{statement.arg_name}"] = statement.value
            else:
                macros["/".join(filter(None, (statement.scope, statement.selector)))] = statement.value
    return found


def final_values(path: Path, bindings: Sequence[str] = ()) -> dict[str, object]:
    """The values of a gin file and its includes, macros among them, by full dotted names; imports nothing.

    Args:
        path: a file without sections.
        bindings: further ones, like "STEPS = 10".

    Raises:
        ConfigError: a file is missing or cannot be parsed.
    """
    text = "\n".join([pasted(path), *bindings])
    try:
        macros = {name: value for name, value in bindings_of(text).items() if "." not in name}
        return macros | values_by_path(text)
    except SyntaxError as error:
        raise ConfigError(f"{path}: {first_line(error)}") from error


def pasted(path: Path) -> str:
    """A gin file's text with that of its includes in their places."""
    lines = []
    for line in read_gin(path).splitlines():
        include = INCLUDE.match(line)
        included = find_include(include["path"], "micro") if include else None
        if include and included is None:
            raise ConfigError(f"{path}: include {include['path']!r}: no such gin file")
        lines.append(pasted(included) if included else line)
    return "\n".join(lines)


class Setting(NamedTuple):
    """A line of a gin file that gives a name a value.

    Args:
        default: whether BASE sets it, or a file that BASE includes.
    """

    name: str  # as written
    value: str
    file: Path
    line: int
    section: tuple[str, ...]
    default: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def refuse_overwritten(path: Path, scale: str, default: bool = False) -> dict[str, Setting]:
    """Raise ConfigError if a value of a gin file does not survive: the file itself, or an include below it, sets another one.

    Two values are meant to be replaced: what BASE sets before it includes the scale's file, and at smoke scale what stands
    below [micro]. Nothing may be set before BASE, in whatever file, since BASE sets nearly everything.

    Args:
        default: whether BASE includes the file.

    Returns:
        The last setting of every name in the file and its includes, by full dotted name.
    """
    default = default or path.resolve() == BASE
    names, sections = Paths({}), [section for section, _ in sections_of(path)]
    last: dict[str, Setting] = {}
    for statement in config_parser.ConfigParser(text_at(path, scale), names):
        line, section = statement.location.line_num, sections[statement.location.line_num - 1]
        if isinstance(statement, config_parser.ImportStatement):
            names.learn(statement)
        elif isinstance(statement, config_parser.IncludeStatement):
            included = refuse_overwritten(find_include(statement.filename, scale), scale, default)
            if not (default and "{scale}" in statement.filename):
                for key in last.keys() & included.keys():
                    refuse_second(last[key], included[key], path, section, f"put include {statement.filename!r} above it")
            last |= included
        elif isinstance(statement, config_parser.BindingStatement):
            written = "/".join(filter(None, (statement.scope, statement.selector)))
            key = "/".join(filter(None, (statement.scope, names.path(statement.selector)))) if statement.arg_name else written
            key, written = (".".join(filter(None, (name, statement.arg_name))) for name in (key, written))
            new = Setting(written, repr(statement.value), path, line, section, default)
            if key in last:
                apart = section and not last[key].section
                refuse_second(last[key], new, path, section, move(section) if apart else "keep one of them")
            last[key] = new
    return last


def move(section: Collection[str]) -> str:
    """Where a value belongs that a section replaces: below the scales that do not read the section."""
    others = [name for name in SCALES if not {*scales_read(name)} & {*section} and name != "smoke"]
    return f"move the first below {' and '.join(f'[{name}]' for name in others)}"


def refuse_second(first: Setting, second: Setting, path: Path, section: tuple[str, ...], fix: str) -> None:
    """Raise ConfigError if `second` replaces a value that `path` itself sets, or if a default replaces what is not one.

    Args:
        section: of the line of `path` that sets or includes the second.
        fix: what to do.
    """
    protected = first.file == path or (second.default and not first.default)
    smaller = "micro" in first.section and section == ("smoke",)
    if protected and not smaller and first.value != second.value:
        raise ConfigError(
            f"{first}: {first.name} = {first.value} has no effect, as {second} sets {second.name} = {second.value} after it; "
            f"{fix}"
        )


def refuse_foreign(text: str, source: Path) -> None:
    """Raise ConfigError if the gin text of a saved model names anything but this project's classes (gin would call it).

    Raises:
        ConfigError: names the file and the offending line.
    """
    names, imports, selectors, bad = Names({}), [], [], None
    for statement in config_parser.ConfigParser(text, names):
        if isinstance(statement, config_parser.ImportStatement):
            imports.append((statement.module, statement.bound_name() if statement.is_from or statement.alias else ""))
        elif isinstance(statement, config_parser.IncludeStatement):
            bad = f"include {statement.filename!r}"
        elif isinstance(statement, config_parser.BlockDeclaration) or statement.arg_name:
            selectors.append(statement.selector)
    bad = bad or check_allowlist(imports, [*selectors, *names.references])
    if bad:
        raise ConfigError(f"{source} is refused: its gin text says `{bad}`; a model may only use this project's classes")


def values_of(text: str) -> str:
    """A gin text without comments and blank lines, for comparing two configurations."""
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))


def digest(text: str) -> str:
    """Eight hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def macro(name: str) -> object:
    """The value of a macro of the parsed configuration."""
    return gin.query_parameter(f"{name}/gin.macro.value")

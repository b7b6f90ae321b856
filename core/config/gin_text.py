"""gin text read without importing what it names: its values, and whether it may be run."""

import re
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError

from gin import config_parser

from core.config.gin_files import pasted
from core.errors import ConfigError
from core.weights.allowlist import check_allowlist

# what gin's parser and the imports of a text raise: a TypeError is a list as a key, a RecursionError a thousand brackets
UNREADABLE = (SyntaxError, TokenError, NameError, AttributeError, ImportError, ValueError, TypeError, RecursionError)


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
    except UNREADABLE as error:
        raise ConfigError(f"{path}: {problem_of(error)}") from error


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


def without_comments(text: str) -> str:
    """A gin text without comments and blank lines, for comparing two configurations."""
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))


def problem_of(error: Exception) -> str:
    """Why gin text cannot be read, in one line."""
    if isinstance(error, TokenError):  # `EOF in multi-line statement`, and where: the line is the last one of the text
        return f"{error.args[0]}: a bracket or a quotation mark that is opened is not closed"
    return gin_message(error)


def gin_message(error: Exception) -> str:
    """An exception's message up to gin's trace of configurables."""
    text = str(error).strip()
    return " ".join(re.split(r"\n\s+In call to|\n\n", text)[0].split())

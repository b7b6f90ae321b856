"""A binding that nothing reads is an error: mostly a misspelt name, or a parameter's value where its knob's was meant."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import gin

from core.config.gin_files import pasted, read_gin, titled
from core.errors import ConfigError
from core.files import from_command_line


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
    if not unread:
        return
    called = titled(path, bindings)
    for knob, parameter in replaced_knobs(pasted(from_command_line(path)), {*unread} - own, own):
        if not any(key.endswith(parameter) for key in unread):
            raise ConfigError(f"{called}: {parameter} takes its value from {knob}; set {knob} = ... instead")
    known = sorted(scope for scope, selector in read if selector == "gin.macro")
    raise ConfigError(
        f"{called}: nothing reads {', '.join(sorted(unread))}. Check the spelling; macros in use: " + ", ".join(known)
    )


def replaced_knobs(text: str, unread: Collection[str], own: Collection[str]) -> Iterator[tuple[str, str]]:
    """Macros that a gin text binds to parameters for which the row or the command line has a value of its own, and these.

    Args:
        text: of the row, with its includes.
        unread: names of macros, and of others that are none.
        own: see `own_names`.
    """
    for name in sorted(unread):
        for parameter in re.findall(rf"^\s*([\w./]+)\s*=\s*%{name}\s*(?:#.*)?$", text, re.MULTILINE):
            if any(parameter == ours or parameter.endswith("." + ours) for ours in own):
                yield name, parameter


def own_names(path: Path | str, bindings: Sequence[str]) -> set[str]:
    """Names of the macros and parameters that a gin file itself (without includes) or the command line binds."""
    text = read_gin(from_command_line(path))
    return set(re.findall(r"^\s*([\w./]+)\s*=", "\n".join([text, *bindings]), re.MULTILINE))

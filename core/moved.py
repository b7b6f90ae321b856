"""Modules that were moved or renamed, by their first name.

Saved models name modules by their old names, and digests of runs are made from the first names. So a module that moves gets a
line here: saved models keep loading, and runs keep their digests. So do arguments, and the charsets that had a size for a name.
"""

import re
from collections.abc import Mapping

from core.charset import CHARSET_36, CHARSET_94

MOVED = {  # first name: name now
    "core.experiment": "core.experiment.experiment",
    "core.optim": "core.experiment.optim",
    "core.protocol": "core.experiment.protocol",
}
RENAMED = {"optim.Optimisation.explosion": "optim.Optimisation.max_loss_ratio"}  # arguments that have another name now
SIZES = {36: CHARSET_36, 94: CHARSET_94}  # charsets were named by their size, in arguments like CLIP4STR.charset_size
CHARSET_SIZE = re.compile(r"^(?P<argument>(?:\S+\.)?\w+\.\w*charset)_size = (?:(?P<size>\d+)|%(?P<macro>\w+))$", re.MULTILINE)


def with_new_names(text: str) -> str:
    """Gin text with old names of modules (import lines) and arguments (bindings) replaced by the current ones."""
    for old, new in MOVED.items():
        (old_package, old_name), (package, name) = old.rsplit(".", 1), new.rsplit(".", 1)
        alias = "" if name == old_name else f" as {old_name}"
        line = rf"^from {re.escape(old_package)} import {re.escape(old_name)}[ \t]*$"
        text = re.sub(line, f"from {package} import {name}{alias}", text, flags=re.MULTILINE)
    for old, new in RENAMED.items():
        text = re.sub(rf"^{re.escape(old)}(?= =)", new, text, flags=re.MULTILINE)

    def with_characters(line: re.Match) -> str:
        macro = re.search(rf"^{line['macro']} = (\d+)$", text, re.MULTILINE) if line["macro"] else None
        size = int(macro[1] if macro else line["size"] or 0)
        return f"{line['argument']} = {SIZES[size]!r}" if size in SIZES else line[0]

    return CHARSET_SIZE.sub(with_characters, text)


def with_first_names(text: str) -> str:
    """Text in which every dotted name from a moved module uses the module's first name, and a charset that had one its size."""
    for old, new in MOVED.items():
        text = re.sub(rf"(?<![\w.]){re.escape(new)}\.(?=[A-Z])", f"{old}.", text)
    for size, characters in SIZES.items():
        text = text.replace(f"charset = {characters!r}", f"charset_size = {size}")
    return text


def with_new_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings of a protocol as they are called now."""
    settings = dict(settings)
    if (size := settings.pop("scoring_charset_size", None)) in SIZES:
        settings["scoring_charset"] = SIZES[size]
    return settings


def with_first_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings of a protocol as they were called first, which digests are made from."""
    settings = dict(settings)
    for size, characters in SIZES.items():
        if settings.get("scoring_charset") == characters:
            settings["scoring_charset_size"] = size
            del settings["scoring_charset"]
    return settings

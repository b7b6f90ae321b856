"""Modules that were moved or renamed, by their first name.

Saved models name modules by their old names, and digests of runs are made from the first names. So a module that moves gets a
line here: saved models keep loading, and runs keep their digests.
"""

import re

MOVED = {  # first name: name now
    "core.experiment": "core.experiment.experiment",
    "core.optim": "core.experiment.optim",
    "core.protocol": "core.experiment.protocol",
}
RENAMED = {"optim.Optimisation.explosion": "optim.Optimisation.max_loss_ratio"}  # arguments that have another name now


def with_new_names(text: str) -> str:
    """Gin text with old names of modules (import lines) and arguments (bindings) replaced by the current ones."""
    for old, new in MOVED.items():
        (old_package, old_name), (package, name) = old.rsplit(".", 1), new.rsplit(".", 1)
        alias = "" if name == old_name else f" as {old_name}"
        line = rf"^from {re.escape(old_package)} import {re.escape(old_name)}[ \t]*$"
        text = re.sub(line, f"from {package} import {name}{alias}", text, flags=re.MULTILINE)
    for old, new in RENAMED.items():
        text = re.sub(rf"^{re.escape(old)}(?= =)", new, text, flags=re.MULTILINE)
    return text


def with_first_names(text: str) -> str:
    """Text in which every dotted name from a moved module uses the module's first name."""
    for old, new in MOVED.items():
        text = re.sub(rf"(?<![\w.]){re.escape(new)}\.(?=[A-Z])", f"{old}.", text)
    return text

"""Modules that moved, by the name they first had: saved models name the old ones, and digests are made of them.

So a module that moves gets a line here, and neither does a saved model stop loading nor a run get another digest.
"""

import re

MOVED = {  # first name: name now
    "core.experiment": "core.experiment.experiment",
    "core.optim": "core.experiment.optim",
    "core.protocol": "core.experiment.protocol",
}
RENAMED = {"optim.Optimisation.explosion": "optim.Optimisation.max_loss_ratio"}  # arguments that have another name now


def with_new_names(text: str) -> str:
    """Gin text whose import lines name modules, and whose bindings name arguments, as they are called now."""
    for old, new in MOVED.items():
        (old_package, old_name), (package, name) = old.rsplit(".", 1), new.rsplit(".", 1)
        alias = "" if name == old_name else f" as {old_name}"
        line = rf"^from {re.escape(old_package)} import {re.escape(old_name)}[ \t]*$"
        text = re.sub(line, f"from {package} import {name}{alias}", text, flags=re.MULTILINE)
    for old, new in RENAMED.items():
        text = re.sub(rf"^{re.escape(old)}(?= =)", new, text, flags=re.MULTILINE)
    return text


def with_first_names(text: str) -> str:
    """Text with every dotted name of something in a moved module as it was at first."""
    for old, new in MOVED.items():
        text = re.sub(rf"(?<![\w.]){re.escape(new)}\.(?=[A-Z])", f"{old}.", text)
    return text

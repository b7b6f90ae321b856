"""The differences between two rows: bindings, parameters, trainable set, optimiser groups, steps, protocol.

A row that does not differ from its baseline measures only noise; this module detects such rows.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from core.config import gin_text
from core.experiment.experiment import Loaded, load
from core.experiment.optim import Optimisation
from core.model.clip4str import CLIP4STR

SHOWN = 8  # names listed of a long list
LONGEST = 120  # characters shown of a value: a charset may have thousands

Pair = tuple[object, object]  # the value here, the value there


@dataclass(frozen=True)
class Difference:
    """Every field lists what is not shared, as (here, there); absent values are None.

    Args:
        bindings: values of the operative configuration that training or evaluation reads.
        parameters: counts of each tensor group (the name up to its layer) that is only in one, or of another size.
        trained: tensors trained in one and there but frozen in the other.
        groups: optimiser groups: parameters, peak learning rate and weight decay.
        length: images per optimiser step, steps, epochs.
        protocol: the evaluation protocol.
    """

    bindings: dict[str, Pair]
    parameters: dict[str, Pair]
    trained: dict[str, Pair]
    groups: dict[str, Pair]
    length: dict[str, Pair]
    protocol: dict[str, Pair]

    @property
    def empty(self) -> bool:
        """Nothing differs but names."""
        return not any(asdict(self).values())

    def text(self, row: str, against: str) -> str:
        """Both sides as lines to read."""
        if self.empty:
            return f"{row} and {against} are the same experiment: nothing that is trained, read or scored differs"
        lines = [f"{row} against {against} (here | there)"]
        for title, pairs in asdict(self).items():
            lines += [f"{title}:"] if pairs else [f"{title}: the same"]
            for name, (here, there) in list(pairs.items())[:SHOWN]:
                lines.append(f"  {name}: {shown(here)} | {shown(there)}")
            if len(pairs) > SHOWN:
                lines.append(f"  ... and {len(pairs) - SHOWN} more (--json has all)")
        if not any(pairs for title, pairs in asdict(self).items() if title != "bindings"):
            lines.append("only values differ: they change the forward pass, the loss or the weights' file, or nothing at all")
        return "\n".join(lines)


def shown(value: object) -> str:
    if value is None:
        return "-"
    text = f"{value:,}" if type(value) is int else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


def unlike(here: dict, there: dict) -> dict[str, Pair]:
    """The entries in which two dictionaries differ."""
    names = [*here, *(name for name in there if name not in here)]
    return {name: (here.get(name), there.get(name)) for name in names if here.get(name) != there.get(name)}


def difference(here: Loaded, there: Loaded) -> Difference:
    """Compare two rows, each read."""
    sides = (here, there)
    return Difference(
        bindings=unlike(*(bindings(side.operative) for side in sides)),
        parameters=unlike(*(sizes(side.blueprint) for side in sides)),
        trained=trained_unlike(*(side.blueprint for side in sides)),
        groups=unlike(*(groups(side.experiment.optimisation, side.blueprint) for side in sides)),
        length=unlike(*(length(side.experiment.optimisation) for side in sides)),
        protocol=unlike(*(asdict(side.protocol) for side in sides)),
    )


def bindings(text: str) -> dict[str, str]:
    """A gin text as names and values, continued lines joined."""
    joined = re.sub(r"\\\n\s*|(?<=[\[({,])\n\s*", "", gin_text.without_comments(text))
    lines = (line.partition(" = ") for line in joined.splitlines() if " = " in line)
    return {name.strip(): value.strip() for name, _, value in lines}


def sizes(model: CLIP4STR) -> dict[str, int]:
    """Parameters by part: the name up to its first number."""
    found: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = re.split(r"\.\d", name)[0]
        found[part] = found.get(part, 0) + parameter.numel()
    return found


def trained_unlike(here: CLIP4STR, there: CLIP4STR) -> dict[str, Pair]:
    """Parameters of both models that one trains and the other freezes."""
    sides = [
        {name: "trained" if parameter.requires_grad else "frozen" for name, parameter in model.named_parameters()}
        for model in (here, there)
    ]
    return {name: pair for name, pair in unlike(*sides).items() if None not in pair}


def groups(optimisation: Optimisation, model: CLIP4STR) -> dict[str, str]:
    """The optimiser's groups as text."""
    return {
        group["name"]: f"{optimisation.algorithm}, {sum(p.numel() for p in group['params']):,} parameters, peak learning rate "
        f"{group['peak_lr']:.3g}, weight decay {group['weight_decay']:g}"
        for group in optimisation.groups(model)
    }


def length(optimisation: Optimisation) -> dict[str, object]:
    return {"batch": optimisation.batch, "steps": optimisation.steps, "epochs": optimisation.epochs}


def compare(row: str, against: str, scale: str, bindings: Sequence[str]) -> Difference:
    """The differences between two rows at a scale; `bindings` apply to the first.

    Raises:
        ConfigError: a row cannot be built.
    """
    return difference(load(row, scale, bindings), load(against, scale))

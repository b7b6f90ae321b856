"""What a search of the learning rate consists of, and the trainings it asks for."""

from dataclasses import dataclass

from core import config
from core.errors import ConfigError, UserError
from core.experiment.experiment import load


@dataclass(frozen=True)
class Search:
    """A search over one macro of a row, in short trainings of it (section V-A: "searched automatically by Ray").

    The row's own value is always among those tried, so that what is published competes.

    Args:
        row: gin file of the row that is trained.
        macro: what is searched, a positive number of the row, e.g. "ENCODER_LR".
        span: values are drawn log-uniformly from the row's own divided by this to the row's own times this.
        trials: how many values, the row's own among them.
        share: of the row's training, how much a trial gets; its schedule ends there.
        seed: of the values drawn, and of every trial's weights and data order.
    """

    row: str
    macro: str
    span: float
    trials: int
    share: float
    seed: int

    def __post_init__(self):
        if self.span <= 1:
            raise UserError(f"Search.span = {self.span}: must be above 1; the row's own value is divided and multiplied by it")
        if self.trials < 2:
            raise UserError(f"Search.trials = {self.trials}: the least is 2, the row's own value and another")
        if not 0 < self.share <= 1:
            raise UserError(f"Search.share = {self.share}: must be above 0 and at most 1, a share of the row's training")


@dataclass(frozen=True)
class Budget:
    """The row as every trial trains it.

    Args:
        own: the row's value of the macro.
        low, high: the range that values are drawn from.
        bindings: what shortens the training, as `--set` takes it.
        output: the branch that is scored, `visual` or `cross`.
    """

    own: float
    low: float
    high: float
    bindings: tuple[str, ...]
    output: str


def budget(search: Search, scale: str, bindings: tuple[str, ...] = ()) -> Budget:
    """Read the search's row and shorten its training.

    Raises:
        ConfigError: the row cannot be read, or the macro is no positive number of it.
    """
    loaded = load(search.row, scale, bindings)
    optimisation = loaded.experiment.optimisation
    own = config.macro(search.macro)
    if isinstance(own, bool) or not isinstance(own, int | float) or own <= 0:
        raise ConfigError(f"Search.macro = {search.macro!r}: {search.row} sets it to {own!r}, which is no positive number")
    if optimisation.steps is not None:
        length = f"TRAIN_STEPS = {max(1, round(search.share * optimisation.steps))}"
    else:
        length = f"EPOCHS = {search.share * optimisation.epochs!r}"
    return Budget(float(own), own / search.span, own * search.span, (*bindings, length), loaded.protocol.output)


def rounded(value: float) -> float:
    """Three digits: what is tried is what is printed."""
    return float(f"{value:.3g}")

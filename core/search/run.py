"""Search a row's learning rate with Ray Tune: short trainings, the best validation accuracy (section V-A).

    python -m core.search ablations/lr_search.gin --data results/data/micro --out results/searches/micro

Interrupted, the same command goes on: finished trials are kept, a started one goes on from its last state.
"""

from collections.abc import Sequence
from dataclasses import asdict

from core.errors import UserError
from core.search.study import Budget, Search
from core.search.trial import Training
from core.search.tuner import draw, run_trials

RESULT = "search.json"


def best(outcomes: Sequence[dict]) -> dict:
    """The outcome of the highest validation accuracy; of equal ones the lowest training loss.

    Raises:
        UserError: every trial diverged.
    """
    ended = [outcome for outcome in outcomes if outcome["accuracy"] is not None]
    if not ended:
        raise UserError("every trial diverged; lower Search.span, or the row's own value, in ablations/lr_search.gin")
    return max(ended, key=lambda outcome: (outcome["accuracy"], -outcome["loss"]))


def search(plan: Search, shortened: Budget, training: Training, jobs: int) -> dict:
    """Run every trial; the whole search as `search.json` holds it.

    Raises:
        TrialError: a training could not be done.
        UserError: every trial diverged.
    """
    values = draw(shortened.own, shortened.low, shortened.high, plan.trials, plan.seed)
    outcomes = run_trials(training, values, jobs)
    return {
        **asdict(plan),
        "scale": training.scale,
        "data": training.data,
        "data_fingerprint": training.fingerprint,
        "own": values[0],
        "low": shortened.low,
        "high": shortened.high,
        "bindings": list(training.bindings),
        "output": training.output,
        "chosen": best(outcomes)["value"],
        "trials": outcomes,
    }

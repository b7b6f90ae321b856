"""A learning-rate search: values drawn, trials run, the best chosen by validation accuracy (section V-A)."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict

from core import config
from core.data.lmdb import fingerprint, train_roots
from core.errors import UserError
from core.experiment.experiment import load
from core.files import write_json
from core.search.study import Budget, Search, budget
from core.search.trial import Training
from core.search.tuner import draw, require_ray, run_trials

RESULT = "search.json"


def search_row(options: argparse.Namespace) -> None:
    """Run or continue the search that `core.search`'s options describe; write and print its result.

    Raises:
        FileNotFoundError: there is no val/ to compare values by.
        SearchUnavailable: Ray is not installed.
    """
    require_ray()
    plan = config.build(Search, options.plan, options.scale)
    shortened = budget(plan, options.scale, tuple(options.set))
    trained_on = load(plan.row, options.scale, options.set).experiment.train_data
    if not (options.data / "val").is_dir():
        raise FileNotFoundError(f"{options.data / 'val'} does not exist: values are compared by their accuracy on val/")
    training = Training(
        row=plan.row,
        data=str(options.data.resolve()),
        out=str(options.out.resolve()),
        scale=options.scale,
        macro=plan.macro,
        bindings=shortened.bindings,
        seed=plan.seed,
        threads=options.threads,
        fingerprint=fingerprint(*train_roots(options.data, trained_on), options.data / "val"),
        output=shortened.output,
    )
    found = search(plan, shortened, training, options.jobs or max(1, (os.cpu_count() or 1) // options.threads))
    write_json(options.out / RESULT, found)
    print(f"{plan.macro} = {found['chosen']:g} (the row's own: {found['own']:g}); written to {options.out / RESULT}")


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

"""The learning-rate search (section V-A): a sweep over one knob in short trainings; the accuracy on val/ chooses.

Each trial is a training by the rule `trial`, in a folder of its own below results/searches; `reports.search` makes the table.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import yaml

from ablations import plan as planning
from ablations.rows import refuse_start, run_of
from ablations.sweeps import own_values, write_sweep_rows
from core.config.gin_text import bindings_of
from core.errors import ConfigError
from core.experiment.sweep import one_sweep
from core.files import ABLATIONS, read_utf8, write_if_changed, write_if_missing
from core.run_files import TRAIN_GIN, seed_folder

SEARCH = ABLATIONS / "lr_search.yaml"


class Trials(NamedTuple):
    """The trials of a search: what search.json says of them, their training sets, and the weights they begin with."""

    content: dict
    train_data: list[str]
    named: list[str]


class Search:
    """The search of ablations/lr_search.yaml under a plan; the file is read only when the search is used.

    Args:
        path: the YAML file: one sweep of one knob, with the row that it starts from.
        shared: another workflow is at work in these results: write what is missing, and change nothing that is there.
    """

    def __init__(self, plan: planning.Plan, path: Path = SEARCH, shared: bool = False):
        self.plan, self.path, self.shared = plan, path, shared
        self.seed = plan.seeds[0]

    @cached_property
    def trials(self) -> Trials:
        """Every value with its run; writes search.json, which `reports.search` reads, and the trials' gin files.

        Raises:
            ConfigError, ReportError: the file asks for something else than one knob with positive numbers, or there is no val/.
        """
        try:
            written = yaml.safe_load(read_utf8(self.path))
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.path} is not valid YAML: {error}") from error
        plan, sweep = self.plan, one_sweep(self.path, written)
        knobs = {knob for point in sweep.points.values() for knob in point}
        if len(knobs) != 1 or not sweep.start:
            raise ConfigError(f"{self.path}: expected `from`, a gin file, and one knob; it names {', '.join(sorted(knobs))}")
        if not plan.rendered and not (plan.data / "val").is_dir():
            raise ConfigError(f"{plan.data / 'val'} does not exist: values are compared by their accuracy on val/")
        knob, cache, trials = knobs.pop(), planning.plan_cache(plan.results), []
        own = own_values(sweep.start, plan.scale, cache).get(knob)
        folder, put = plan.results / "sweeps" / plan.scale / "lr_search", write_if_missing if self.shared else write_if_changed
        for path in write_sweep_rows(self.path, [sweep], "", folder, plan.scale, cache, self.shared).values():
            row = cache.row(path, plan.scale)
            run, missing = run_of(row, plan.scale, plan.source)
            if missing:
                raise ConfigError(f"{self.path}: {missing}")
            refuse_start(path, row)
            value = bindings_of(row.operative)[knob]
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ConfigError(f"{self.path}: {knob} = {value!r} is not a positive number")
            put(plan.searches / run / TRAIN_GIN, row.operative)
            trials.append({"value": value, "run": run})
        cache.write()
        if own not in [trial["value"] for trial in trials]:
            raise ConfigError(f"{self.path}: the row's own {knob} = {own!r} is not among the values; add 1 to `times`")
        data = f"the {plan.data_name}" if plan.rendered else plan.data_inputs.name
        content = {"row": sweep.start, "knob": knob, "own": own, "share": sweep.share, "scale": plan.scale, "data": data}
        content |= {"output": row.output, "seed": self.seed, "trials": sorted(trials, key=lambda trial: trial["value"])}
        put(plan.searches / "search.json", json.dumps(content, indent=2) + "\n")
        return Trials(content, row.train_data, row.named)

    @property
    def inputs(self) -> list[Path]:
        """The inputs of the search's table: search.json, and a mark in the folder of every finished trial."""
        plan = self.plan
        ended = [seed_folder(plan.searches / trial["run"], self.seed) / "trial.done" for trial in self.trials.content["trials"]]
        return [plan.searches / "search.json", *ended]

    @property
    def data(self) -> list[Path]:
        """The data inputs of a trial: its training sets, and val/, which chooses."""
        inputs = self.plan.data_inputs
        return inputs.train_inputs(self.trials.train_data) if self.plan.rendered else inputs.search_inputs

    def towers(self, checkout: str) -> list[str]:
        """The weights that a trial begins with and a rule makes."""
        return self.plan.towers(self.trials.named, checkout)

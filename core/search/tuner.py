"""The trials of a search as Ray Tune runs them: on this machine alone, without dashboard, telemetry or network."""

import contextlib
import importlib.util
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from core.errors import SearchUnavailable, TrialError
from core.files import ROOT
from core.search.study import rounded
from core.search.trial import Training, finished, identity, run_trial

NEEDED = ("ray", "pyarrow")
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interruption ends the search; Tune would go on to collect results
}
SECONDS = 0.5  # between looks at the trials' folders
STORE = 80 * 2**20  # bytes of shared memory, near the least that Ray takes: trials exchange a few numbers


def require_ray() -> None:
    """Make sure that Ray is there, without importing it.

    Raises:
        SearchUnavailable: saying how to install it.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise SearchUnavailable("a search needs Ray Tune, which the optional extra brings: pip install '.[search]'")


@contextlib.contextmanager
def ray_alone(jobs: int, threads: int, gpus: int) -> Iterator[None]:
    """A Ray of this process's own that ends with it, whatever else runs on the machine.

    Args:
        jobs: trials at the same time.
        threads: CPU threads of each.
        gpus: that are shared out, one a trial.
    """
    require_ray()
    os.environ.update(QUIET)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # for Ray's workers
    os.environ.pop("RAY_ADDRESS", None)  # a cluster that happens to be there is not ours
    import ray

    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # sockets lie in it: the path must stay short
        ray.init(
            num_cpus=jobs * threads,
            num_gpus=gpus,
            object_store_memory=STORE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        try:
            yield
        finally:
            ray.shutdown()


def draw(own: float, low: float, high: float, trials: int, seed: int) -> list[float]:
    """The values of a search: the row's own first, the others drawn by Ray Tune log-uniformly, the same for one seed."""
    from numpy.random import RandomState
    from ray import tune

    domain, random = tune.loguniform(low, high), RandomState(seed)
    values = dict.fromkeys([rounded(own)])
    while len(values) < trials:
        values[rounded(domain.sample(random_state=random))] = None
    return list(values)


def run_trials(training: Training, values: Sequence[float], jobs: int) -> list[dict]:
    """Outcomes of every value, in their order; those found by an earlier search are taken as they are.

    Raises:
        TrialError: a training could not be done; the others are finished and kept.
    """
    gpus = torch.cuda.device_count()
    with ray_alone(jobs, training.threads, gpus), tempfile.TemporaryDirectory(prefix="tune-") as scratch:
        from ray import tune

        trainable = tune.with_resources(partial(as_trainable, training), {"cpu": training.threads, "gpu": int(gpus > 0)})
        with shown(training, values):
            grid = tune.Tuner(
                trainable,
                param_space={"value": tune.grid_search(list(values))},
                tune_config=tune.TuneConfig(max_concurrent_trials=min(jobs, gpus) if gpus else jobs),
                run_config=tune.RunConfig(storage_path=scratch, verbose=0),
            ).fit()
        if grid.errors:
            raise TrialError(str(grid.errors[0]).strip().splitlines()[-1].removeprefix(f"{TrialError.__module__}.TrialError: "))
        found = {result.config["value"]: result.metrics["outcome"] for result in grid}
    return [found[value] for value in values]


def as_trainable(training: Training, config: dict) -> dict:
    """A trial as Ray Tune calls it."""
    return {"outcome": run_trial(training, config["value"])}


@contextlib.contextmanager
def shown(training: Training, values: Sequence[float]) -> Iterator[None]:
    """A progress bar that counts the outcomes that trials have written; Ray's workers have no way to our terminal."""
    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    over = threading.Event()
    with Progress(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task("search", total=len(values), note="")

        def watch() -> None:
            waiting = list(values)
            while waiting:
                last = over.wait(SECONDS)  # looks once more after the end
                for value in list(waiting):
                    outcome = finished(training.folder(value), identity(training))
                    if outcome is not None:
                        waiting.remove(value)
                        said = outcome["reason"] or f"{outcome['accuracy']:.1f} %"
                        bar.update(task, advance=1, note=f"{value:g}: {said}")
                        if not bar.console.is_terminal:
                            print(f"{training.macro} = {value:g}: {said}", flush=True)
                if last:
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

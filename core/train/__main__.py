"""Train one row's model.

    python -m core.train ablations/table_VI/image0-text6.gin --data my-world --out results/runs/mine/seed0

After an interruption the same command resumes from the last saved state and, on a CPU, ends in the same weights (on a GPU:
docs/gpu.md): data order, augmentation, permutations and dropout depend on nothing but the seed and the step.
"""

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.choices import LOG_EVERY
from core.cli import LAST_SEED, add_data, add_scale, add_settings, add_threads, add_tracking, at_least
from core.errors import DataError, user_errors


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="python -m core.train",
        description="Train the model of one row. After an interruption the same command resumes where it stopped.",
    )
    command.add_argument("row", help="gin file, e.g. ablations/table_VI/image0-text6.gin")
    add_data(command, "train/<set>/**/data.mdb (the row's TRAIN_DATA) and val/**/data.mdb")
    command.add_argument("--out", type=Path, required=True, help="run directory to write")
    about = "seed of weights, data order, augmentation, permutations and dropout (default: 0)"
    command.add_argument("--seed", type=at_least(0, LAST_SEED), default=0, help=about)
    about = "trained model that takes the place of the row's START: run directory, model.safetensors or .ckpt"
    command.add_argument("--start", type=Path, help=about)
    add_scale(command)
    add_settings(command)
    add_threads(command)
    about = "steps between lines of metrics.jsonl (default: %(default)s)"
    command.add_argument("--log-every", type=at_least(1), default=LOG_EVERY, help=about)
    about = "number of this attempt in a workflow that restarts failed jobs; a job that ran out of memory is not retried"
    command.add_argument("--attempt", type=int, default=1, help=about)
    add_tracking(command)
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)

    faulthandler.enable()  # a disk that goes away under LMDB ends the process with SIGBUS: say where
    with user_errors():  # imports included, which take seconds
        import torch

        from core.experiment.experiment import load
        from core.files import no_folder
        from core.runtime.distributed import end_distributed, leads, threads_each
        from core.runtime.tracking.client import tracking_for
        from core.train.out_of_memory import out_of_memory_error
        from core.train.run import train
        from core.train.state import Interrupted

        torch.set_num_threads(threads_each(options.threads))
        loaded = load(options.row, options.scale, options.set)
        if options.start:
            loaded = loaded.starting_from(str(options.start.absolute()))
        if not options.data.is_dir():
            raise DataError(f"data root {options.data} {no_folder(options.data)}; it should hold train/, val/ and test/")
        try:
            tracking = tracking_for(options.tracking, options.row)
            optimisation, processes = loaded.experiment.optimisation, int(os.environ.get("WORLD_SIZE", 1))
            with out_of_memory_error(optimisation, processes, options.out, options.attempt):
                train(loaded, options.data, options.out, options.seed, options.log_every, tracking)
        except Interrupted as stop:
            if leads():
                print(stop, file=sys.stderr)
            sys.exit(stop.exit_status)
        end_distributed()


if __name__ == "__main__":
    main()

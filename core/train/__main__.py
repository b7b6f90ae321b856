"""Train one row's model.

    python -m core.train ablations/table_VI/image0-text6.gin --data results/data/micro --out results/runs/mine/seed0

Killed or interrupted, the same command goes on from the last saved state and ends in the same weights: data order,
augmentation, permutations and dropout depend on nothing but the seed and the step.
"""

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core import config
from core.errors import UserError, user_errors
from core.runtime.tracking.client import MODES
from core.train.loop import LOG_EVERY


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Train the model of one row. Run again after an interruption, it goes on where it stopped."
    )
    parser.add_argument("row", help="gin file, e.g. ablations/table_VI/image0-text6.gin")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with train/<set>/**/data.mdb (the row's TRAIN_DATA) and val/**/data.mdb",
    )
    parser.add_argument("--out", type=Path, required=True, help="run directory to write")
    parser.add_argument("--seed", type=int, default=0, help="seeds weights, data order, augmentation, permutations, dropout")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument("--set", action="append", default=[], metavar="'NAME = value'", help="override a macro, repeatable")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.add_argument(
        "--log-every", type=int, default=LOG_EVERY, help=f"steps between lines of metrics.jsonl (default: {LOG_EVERY})"
    )
    parser.add_argument(
        "--attempt",
        type=int,
        default=1,
        help="which try this is of a workflow that starts failed jobs again; what ran out of memory is not tried twice",
    )
    parser.add_argument(
        "--tracking", choices=MODES, default="auto", help="wandb: online, offline, off; auto is online where it is logged in"
    )
    options = parser.parse_args(arguments)

    import torch

    from core.experiment.experiment import load
    from core.runtime.distributed import leads, leave_team, threads_each
    from core.runtime.tracking.client import tracking_for
    from core.train.memory import fitting
    from core.train.run import train
    from core.train.state import Interrupted

    faulthandler.enable()  # a disk that goes away under LMDB ends the process with SIGBUS: say where
    with user_errors():
        torch.set_num_threads(threads_each(options.threads))
        if options.log_every < 1:
            raise UserError(f"--log-every {options.log_every}: expected a number of steps")
        loaded = load(options.row, options.scale, options.set)
        if not options.data.is_dir():
            raise FileNotFoundError(f"data root {options.data} does not exist; it should hold train/, val/ and test/")
        try:
            tracking = tracking_for(options.tracking, options.row)
            optimisation, processes = loaded.experiment.optimisation, int(os.environ.get("WORLD_SIZE", 1))
            optimisation.accumulation(processes)  # refuses a team that cannot share the batch before anything is opened
            with fitting(optimisation, processes, options.out, options.attempt):
                train(loaded, options.data, options.out, options.seed, options.log_every, tracking)
        except Interrupted as stop:
            if leads():
                print(stop, file=sys.stderr)
            sys.exit(stop.exit_status)
        leave_team()


if __name__ == "__main__":
    main()

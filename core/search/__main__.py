"""Search a row's learning rate with Ray Tune: short trainings, the best validation accuracy (section V-A).

    python -m core.search ablations/lr_search.gin --data results/data/micro --out results/searches/micro

Interrupted, the same command goes on: finished trials are kept, a started one goes on from its last state.
"""

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from core import config
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Search a row's learning rate: each trial is a short training of the row, the best on val/ is chosen. "
        "Needs pip install '.[search]'. Run again after an interruption, it goes on."
    )
    parser.add_argument("plan", help="gin file that binds study.Search, e.g. ablations/lr_search.gin")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/<set>/**/data.mdb and val/**/data.mdb")
    parser.add_argument("--out", type=Path, required=True, help="folder of all trials and of search.json")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="'NAME = value'", help="override a macro of the row, repeatable"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads a trial (default: 1)")
    parser.add_argument("--jobs", type=int, default=0, help="trials at the same time (default: as many as the cores allow)")
    options = parser.parse_args(arguments)

    from core.data.lmdb import fingerprint, train_roots
    from core.experiment.experiment import load
    from core.files import write_json
    from core.search.run import RESULT, search
    from core.search.study import Search, budget
    from core.search.trial import Training
    from core.search.tuner import require_ray

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that Ray and the trainings end with the search
    with user_errors():
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


if __name__ == "__main__":
    main()

"""Read every image of every benchmark and keep all four outputs; scoring happens on the kept strings.

python -m core.evaluate results/runs/<run>/seed0 ablations/table_VI/image0-text6.gin --data results/data/micro

Several rows that decode one model in several ways share one pass of its image tower.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core import config
from core.runtime.distributed import MOST_WORKERS
from core.runtime.tracking.client import MODES


def main(arguments: Sequence[str] | None = None) -> None:
    from core.experiment.experiment import load
    from core.weights.checkpoint import load_model

    parser = argparse.ArgumentParser(
        description="Read every benchmark below DATA/test with a trained model; keep predictions and scores."
    )
    parser.add_argument("model", type=Path, help="run directory, model.safetensors or released checkpoint")
    parser.add_argument(
        "rows",
        nargs="+",
        metavar="ROW",
        help="gin files whose protocols are used, e.g. ablations/table_VI/image0-text6.gin; for a released checkpoint "
        "ablations/released/as_published.gin or consistent.gin",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with test/<benchmark>/data.mdb")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument(
        "--workers",
        type=int,
        help=f"processes that load images (default: on a GPU one fewer than threads, at most {MOST_WORKERS}; on a CPU none)",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder to write: each ROW into a folder of its file's name (default: below MODEL/evaluations, into one named "
        "after a digest of protocol and test data)",
    )
    parser.add_argument(
        "--tracking", choices=MODES, default="auto", help="wandb: online, offline, off; auto is online where it is logged in"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="as the workflow does: each ROW into MODEL/evaluations/<its file's name>, only where its predictions are missing "
        "or older than the model; all of them are listed in MODEL/evaluations.json",
    )
    options = parser.parse_args(arguments)
    if options.update and options.out:
        parser.error("--update goes without --out")

    import torch

    from core.data.lmdb import fingerprint
    from core.evaluate.done import undone, write_done
    from core.evaluate.run import evaluate
    from core.experiment.protocol import evaluation_digest
    from core.runtime.distributed import device, join_team, leave_team, threads_each, workers_each
    from core.runtime.tracking.client import tracking_for

    with config.user_errors():
        torch.set_num_threads(threads_each(options.threads))
        team = join_team()
        run = options.model if options.model.is_dir() else options.model.parent
        test_data = fingerprint(options.data / "test")
        places = run / "evaluations" if options.update else options.out  # folders that are named as files are
        wanted, scored = {}, {}
        for row in options.rows:
            protocol = load(row, options.scale).protocol
            digest = evaluation_digest(protocol, test_data)
            folder = places / Path(row).stem if places else run / "evaluations" / digest
            if wanted.get(folder, protocol).settings != protocol.settings:
                raise ValueError(f"{row}: another row of that name is written to {folder} already; leave --out away")
            wanted[folder], scored[row] = protocol, (folder, protocol.output)
        names = [folder.name for folder in wanted]
        if options.update:
            # the first process decides for all: another might look when the first has written some already
            unread = team.gather(undone(run, names))[0]
            wanted = {folder: protocol for folder, protocol in wanted.items() if folder.name in unread}
        results = {}
        if wanted:
            workers = workers_each(options.workers, threads_each(options.threads), device())
            results = evaluate(load_model(options.model).to(device()), options.data, wanted, workers, team)
        if options.update and team.leads:
            write_done(run, names)
        for row, (folder, output) in scored.items() if team.leads else ():
            print(row)
            if folder not in results:
                print(f"read already: {folder}")
                continue
            for name, metrics in results[folder]["benchmarks"].items():
                if "n" in metrics:
                    output = output if output in metrics else "visual"
                    print(f"{name:20} {metrics[output]['accuracy']:5.1f} %  of {metrics['n']} words ({output})")
            print(f"written to {folder}")
        leave_team()
        if team.leads and wanted:
            tracking_for(options.tracking, options.rows[0]).evaluated(run, list(wanted))


if __name__ == "__main__":
    main()

"""What lies in a folder of data, what is wrong with it, and which of the paper's tables it can reproduce.

    python -m core.data.doctor data --html doctor.html

docs/data.md says what is checked and how to read the verdict.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from core.cli import add_json, add_workers, share
from core.data.doctor.diagnosis import PARTS
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.data.doctor",
        description="Look at every image and label below a data root (train/<set>/**/data.mdb, val/**/data.mdb, "
        "test/<benchmark>/data.mdb, labels/): what is there, what is broken, what two splits share, and which of the "
        "paper's tables it can reproduce.",
        epilog="Example: python -m core.data.doctor data --html doctor.html --runs results/runs",
    )
    parser.add_argument("root", type=Path, help="data root, as given to core.train as --data")
    add_json(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with thumbnails of what to look at")
    parser.add_argument("--runs", type=Path, help="folder of runs, e.g. results/runs: list those on data that changed since")
    parser.add_argument("--model", type=Path, help="trained model: list labels that it contradicts with confidence")
    about = "confidence from which a reading contradicts its label, 0 to 1 (default: 0.9)"
    parser.add_argument("--confident", type=share, default=0.9, help=about)
    parser.add_argument(
        "--read", nargs="+", choices=PARTS, default=["val", "test"], help="splits the model reads (default: val test)"
    )
    add_workers(parser)
    options = parser.parse_args(arguments)

    from core.data.doctor.diagnosis import examine
    from core.data.doctor.page import page
    from core.data.doctor.run import bar, read_doubts, stale_runs
    from core.data.doctor.summary import summary
    from core.data.doctor.verdict import read_needs
    from core.files import ROOT, atomic_file

    with user_errors():
        if not options.root.is_dir():
            raise FileNotFoundError(f"data root {options.root} does not exist; it should hold train/, val/ and test/")
        with bar("look") as advance:
            diagnosis = examine(options.root, read_needs(ROOT / "ablations"), options.workers, advance)
        old, elsewhere = stale_runs(options.runs, options.root) if options.runs else ({}, 0)
        doubted = read_doubts(diagnosis, options.model, options.read, options.confident) if options.model else []
        if options.html:
            with atomic_file(options.html) as partial:
                partial.write_text(page(diagnosis, old, doubted), encoding="utf-8")
        if options.json:
            runs = {"stale_runs": old, "runs_on_other_data": elsewhere} if options.runs else {}
            found = {"doubts": [doubt._asdict() for doubt in doubted]} if options.model else {}
            print(json.dumps({**diagnosis.as_dict(), **runs, **found}, ensure_ascii=False))
            return
        print(summary(diagnosis))
        if options.runs:
            print(f"\nRuns below {options.runs}")
            lines = [f"{run} is stale: {reason}" for run, reason in old.items()] or ["none is stale"]
            lines += [f"{elsewhere} runs were on other data"] if elsewhere else []
            print("\n".join(f"  {line}" for line in lines))
        if options.model:
            print(f"\nLabels that {options.model} contradicts with confidence {options.confident} or more: {len(doubted)}")
            for place, label, reading, sure in doubted[:20]:
                print(f"  {place.lmdb} {place.index}: label {label}, read {reading} ({sure:.3f})")
        if options.html:
            print(f"\nwritten to {options.html}")


if __name__ == "__main__":
    main()

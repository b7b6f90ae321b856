"""Run a reader made by others through our data, label rules and scoring: a check of the harness from outside.

python -m core.peers rapidocr --data DIR --out results/peers/rapidocr

Its accuracies on public test sets are known from elsewhere; where ours agree, so do data, label rules and scoring. It
shares neither training nor design with any row, so it is printed beside a table and never enters its statistics.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.charset import CHARSET_36, read_charset
from core.cli import add_data, add_threads
from core.errors import user_errors
from core.peers.registry import READERS


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.peers",
        description="Read every benchmark below DATA/test with a reader made by others, to check data, label rules and "
        "scoring from outside. Needs the optional packages: pip install 'clip4str-ablations[peers]'.",
        epilog="After an interruption the same command resumes after the last finished benchmark.",
    )
    parser.add_argument("reader", choices=sorted(READERS), help="rapidocr: RapidOCR's recogniser alone, on the CPU")
    add_data(parser, "test/<benchmark>/data.mdb")
    parser.add_argument("--out", type=Path, required=True, help="folder to write predictions.parquet and metrics.json into")
    about = "folder that keeps every benchmark that was read, by its content, for this and other --out (default: OUT/state)"
    parser.add_argument("--state", type=Path, help=about)
    about = "file of the characters that are scored, like ablations/charsets/greek.txt (default: the published 36)"
    parser.add_argument("--charset", type=Path, metavar="FILE", help=about)
    add_threads(parser)
    options = parser.parse_args(arguments)

    from core.peers.run import read_benchmarks

    with user_errors():
        scored = read_charset(options.charset) if options.charset else CHARSET_36
        read_benchmarks(READERS[options.reader](options.threads), options.data, options.out, options.state, scored)
        print(f"written to {options.out}")


if __name__ == "__main__":
    main()

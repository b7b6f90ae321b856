"""The command line of the plan (`python -m ablations.plan`)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ablations.assumptions import DEVICES, DISCORDANT
from ablations.rows import table_names
from core.cli import add_scale, at_least, positive, positive_share
from core.errors import user_errors


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ablations.plan",
        description="Print what tables would train, before anything starts: rows, the runs they share, what exists already, "
        "and what the rest costs.",
        epilog="At paper and small scale hours come from the model's own operations; at micro and smoke scale models are too "
        "small for that, so hours need --probe (or --device, to have the formula nevertheless).",
    )
    about = f"some of {', '.join(table_names())} (default: the report's)"
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=about)
    about = "the tables that `snakemake report` makes, with its seeds (the default); a table that is named is planned with one"
    parser.add_argument("--all", action="store_true", help=about)
    add_scale(parser, None, "the workflow's")
    parser.add_argument("--data", help="folder of real LMDBs (default: the workflow's, or the scale's rendered world; "
                        "paper scale without it counts with the sizes the paper prints)")  # fmt: skip
    about = "folder of real test sets shown beside rendered words (default: the workflow's)"
    parser.add_argument("--photos", metavar="DIR", help=about)
    about = "the training words in --photos DIR are a training set too, and there is a table of them"
    parser.add_argument("--photos-train", action="store_true", help=about)
    parser.add_argument("--results", help="folder of results (default: the workflow's)")
    parser.add_argument("--replicates", type=at_least(1), metavar="N",
                        help="train the baseline of each table with N seeds (default: the workflow's)")  # fmt: skip
    about = (
        "devices that share the runs (default: 8, as in Table II, where a formula gives the hours; else this machine's GPUs "
        "or, without one, its cores)"
    )
    parser.add_argument("--gpus", type=at_least(1), help=about)
    parser.add_argument("--price", type=positive, help="price of an hour of one of them, in any currency")
    parser.add_argument(
        "--device", help="device to estimate hours for, a name in the devices file (default: the file's default)"
    )
    parser.add_argument("--devices", type=Path, default=DEVICES, help="file of devices and assumptions")
    parser.add_argument("--probe", action="store_true", help="time steps of each distinct configuration on this machine")
    parser.add_argument("--probe-steps", type=at_least(1), default=20, metavar="N", help="steps that are timed (default: 20)")
    parser.add_argument(
        "--why", metavar="RUN", help="print why a run would be made again; RUN is its name or a row like table_VI/image0-text6"
    )
    add_power(parser)
    options = parser.parse_args(arguments)
    if options.all and options.tables:
        parser.error("--all is the report's tables; name some or say --all")
    if (options.power is None) != (options.points is None) or (options.power and options.tables):
        parser.error("--power and --points go together and with no other table: --power table_VI --points 0.5")
    return options


def add_power(parser: argparse.ArgumentParser) -> None:
    """Add the options of --power: how many seeds a study needs."""
    group = parser.add_argument_group("power", "how many trainings of each row show a difference, and what they cost")
    group.add_argument("--power", metavar="TABLE", help="the table whose rows are compared with its baseline")
    group.add_argument("--points", type=positive, help="difference that is to be shown with 80 %% power, of the table's mean")
    about = (
        "standard deviation of one training (default: as measured by replicates or seeds of the baseline, else as "
        "table.yaml states it)"
    )
    group.add_argument("--noise", type=positive, metavar="POINTS", help=about)
    about = (
        "share of test images that exactly one of two rows reads: assumed, since nothing is read yet. Rows of 91 %% that "
        "misread independently of each other have 0.16; rows that misread the same hard images have fewer "
        "(default: %(default)s)"
    )
    group.add_argument("--discordant", type=positive_share, default=DISCORDANT, metavar="SHARE", help=about)


def main(arguments: Sequence[str] | None = None) -> None:
    with user_errors():
        options = parsed(arguments)  # names the tables, whose folders may be named wrongly

        from ablations.show import run

        run(options)


if __name__ == "__main__":
    main()

"""Command-line options that several reports share. Imports nothing heavy, so that `--help` stays fast."""

import argparse
from pathlib import Path


def add_study(parser: argparse.ArgumentParser) -> None:
    """--results and --tables, where everything of a study lies."""
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (default: results)")
    parser.add_argument("--tables", type=Path, help="folder with <table>.runs.csv (default: RESULTS/tables)")


def tables_of(options: argparse.Namespace) -> Path:
    """The folder that --tables names, or its default below --results."""
    return options.tables or options.results / "tables"


def add_figures(parser: argparse.ArgumentParser, holds: str) -> None:
    """--figures, see `figures_of`."""
    parser.add_argument("--figures", type=Path, help=f"folder {holds} (default: RESULTS/figures)")


def figures_of(options: argparse.Namespace) -> Path:
    """The folder that --figures names, or its default below --results."""
    return options.figures or options.results / "figures"


def add_table(parser: argparse.ArgumentParser) -> None:
    """The name of one table."""
    parser.add_argument("table", help="a folder of ablations/ with a table.yaml, e.g. table_VI")

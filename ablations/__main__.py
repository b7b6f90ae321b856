"""The workflow from any folder: `python -m ablations`, or `clip4str-ablations` where the package is installed.

    clip4str-ablations -j2 table_VI --config results="$HOME/results"

is `snakemake -s CHECKOUT/Snakefile` with the same arguments: results and Snakemake's records lie in the working directory.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from core.files import ROOT


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ablations",
        description="Run this checkout's workflow in the working directory: `snakemake -s CHECKOUT/Snakefile ...`.",
        epilog="Everything else is passed on: -j2 table_VI, -n, --directory DIR, --config results=DIR; see snakemake --help.",
    )
    _, rest = parser.parse_known_args(arguments)
    snakefile = ROOT / "Snakefile"
    if not snakefile.is_file():
        sys.exit(f"error: {snakefile} is missing: rows and rules come with a checkout; install it there with pip install -e .")
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", "-s", str(snakefile), *rest])


if __name__ == "__main__":
    main()

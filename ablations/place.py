"""Where a workflow runs: in the checkout or in another folder, with its results there or elsewhere, alone or beside others."""

import argparse
import getpass
import json
import os
import platform
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from snakemake.cli import get_argument_parser

from core.runtime.locks import is_held, open_lock, try_lock

LOCK = "lock"
RUNS_NO_JOB = (  # options of Snakemake with which it runs no job
    *("dryrun", "unlock", "lint", "list_rules", "list_target_rules", "print_compilation", "summary", "detailed_summary"),
    *("dag", "rulegraph", "filegraph", "d3dag", "list_changes", "list_input_changes", "list_params_changes", "list_untracked"),
    *("cleanup_metadata", "cleanup_shadow", "archive", "containerize", "generate_unit_tests"),
)
PATIENCE = 2  # seconds that are waited for a lock: whoever only looks whether it is held holds it for a moment


def checkout_prefix(checkout: Path | str) -> str:
    """Prefix of paths into the checkout: empty where it is the working directory, else its absolute path and a slash."""
    return "" if Path.cwd() == Path(checkout).resolve() else f"{Path(checkout).resolve()}/"


def imports_from(checkout: Path | str) -> dict[str, str]:
    """The environment in which jobs import this checkout's packages: not those of the working directory, or installed ones."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys([str(Path(checkout).resolve()), *filter(None, others)])
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def targets(main: bool) -> list[str]:
    """The targets of Snakemake's command line; the processes of its jobs see others, and are told these by it."""
    if main:
        os.environ["CLIP4STR_TARGETS"] = json.dumps(list(options_given().targets))  # without values of --config or --report
    return json.loads(os.environ.get("CLIP4STR_TARGETS") or "[]")


def runs_jobs() -> bool:
    """Whether Snakemake's command line is to make something: `-n`, `--unlock`, `--summary` and their like only look."""
    options = options_given()
    return not any(getattr(options, name, None) for name in RUNS_NO_JOB) and (not options.report or options.report_after_run)


def options_given() -> argparse.Namespace:
    """Snakemake's command line, without what profiles add."""
    return get_argument_parser().parse_args(sys.argv[1:])


def world_mismatch(world: str, main: bool) -> str:
    """Why a job's process must not work here: its machine renders another world than that which the workflow has planned.

    Worlds follow from the fonts of the machine (`core.data.render.font_search`), which nodes of a cluster need not share.

    Args:
        world: the name of the world's folder.
        main: whether this is the workflow's own process, which tells the others.
    """
    if main:
        os.environ["CLIP4STR_WORLD"] = world
    planned = os.environ.get("CLIP4STR_WORLD", world)
    if planned == world:
        return ""
    return (
        f"error: {platform.node()} would render {world}, and the workflow has planned {planned}: its fonts or versions differ; "
        "give all nodes the same, or list fonts in the page.Page.fonts of the scale's world.gin"
    )


def not_writable(results: Path | str) -> str:
    """Why a workflow cannot write what it must, and the option that helps; empty if it can."""
    records, results = Path(".snakemake"), Path(results)
    if not writable(records):
        return (
            f"error: {Path.cwd()} cannot be written, and Snakemake keeps its records there, in {records}: "
            "add --directory DIR, a folder of yours, in which results will lie too"
        )
    if results.is_symlink() and not results.exists():
        return f"error: {results} is a link to {results.readlink()}, which is not there: mount or make it, or remove the link"
    if not writable(results):
        return f"error: {results} cannot be written: add --config results=DIR, a folder of yours"
    return ""


def towers_not_writable(towers: Iterable[str]) -> str:
    """Why towers that are still to be made cannot be; empty if they can."""
    for path in map(Path, towers):
        if not path.is_file() and not writable(path.parent):
            return (
                f"error: {path} is to be made, and {path.parent} cannot be written: make it once in a checkout that can be "
                f"(python -m core.pretrain {path.with_suffix('.gin')} {path})"
            )
    return ""


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the first folder above it that exists."""
    try:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    except PermissionError:  # below a folder that one may not enter
        return False
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def hold(results: Path | str) -> str:
    """Hold a folder of results until this process ends, so that no second workflow writes there at the same time.

    Two of them would delete each other's unfinished files. The lock ends with its owner, however that ends. On a file system
    without locks the workflow goes on without one, after a line that says so.

    Returns:
        Why this workflow must not start: another one holds the folder; the message says whose it is. Empty otherwise.
    """
    results = Path(results)
    results.mkdir(parents=True, exist_ok=True)
    path = results / LOCK
    descriptor, deadline = open_lock(path), time.monotonic() + PATIENCE  # a descriptor that is never closed
    try:
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                return (
                    f"error: {results} is used by another workflow, {owner(path)}: wait until it has ended, or work in another "
                    "folder with --config results=DIR"
                )
            time.sleep(PATIENCE / 20)
    except OSError as error:
        message = f"warning: {results} cannot be locked ({error.strerror}): nothing stops a second workflow from writing there"
        print(message, file=sys.stderr)
        return ""
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    note = {"user": user(), "host": platform.node(), "pid": os.getpid(), "since": since, "folder": str(Path.cwd())}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode(), 0)
    return ""


def others(results: Path | str) -> str:
    """A line that says who works in a folder of results now; empty if nobody does."""
    path = Path(results) / LOCK
    try:
        return f"note: {results} is used by a workflow {owner(path)}" if is_held(path) else ""
    except OSError:  # another person's file, or no locks here
        return ""


def user() -> str:
    """Who runs this process: a name, or the number of a user without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def owner(path: Path) -> str:
    """Whose lock it is, in words."""
    try:
        note = json.loads(path.read_text())
        return f"of {note['user']} on {note['host']}, pid {note['pid']}, in {note['folder']}, since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"whose owner is not known (see {path})"

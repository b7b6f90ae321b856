"""The report's appendix, the origin of all numbers: code, packages, machines, data, commands, seeds, hours."""

import shlex
from pathlib import Path

import pandas as pd

from core.run_files import PROVENANCE
from core.runtime.tracking.client import recorded
from reports.collect.predictions import read_benchmarks
from reports.collect.runs import seed_folder, training_facts
from reports.collect.stored import damaged, read_json
from reports.render.document import Block, Commands, Heading, Items, Listing, Text

UPLOAD = (
    "What wandb recorded of the runs. `wandb sync` with folders named here uploads what was recorded offline; it is a copy of "
    "metrics.jsonl."
)
VALUES = "in the folder of every run: train.gin holds all values, operative.gin what was read of them"
SHOWN = (  # keys of provenance.json that the appendix shows
    *("started", "finished", "dirty", "commit", "packages", "python", "device", "threads"),
    *("command", "data", "data_fingerprint"),
)


def appendix(runs: pd.DataFrame, results: Path) -> list[Block]:
    """The environment of every run that the tables lead to.

    Args:
        runs: rows of all tables, with `table`.
    """
    done = runs[runs.run != ""]
    records = [record for run, rows in done.groupby("run", sort=False) for record in records_of(run, rows, results)]
    frame = pd.DataFrame(records)
    blocks: list[Block] = [Heading("Appendix: where the numbers come from")]
    if frame.empty:
        return [*blocks, Text("No run of these tables could be trained here.")]
    blocks.append(Text(totals(frame, runs)))
    blocks += [Items(tuple(environment(frame)))]
    hours = frame.assign(hours=frame.hours.map("{:.3f}".format), images=frame.images.map("{:,}".format))
    shown = hours[["run", "seed", "rows", "steps", "images", "hours", "device"]].astype(str).set_index("run")
    blocks += [Heading("Runs", 3), Text("Hours of training steps; rows of several tables share a run."), Listing(shown)]
    if known := recordings(frame, results):
        blocks += [Heading("Tracking", 3), Text(UPLOAD), Items(tuple(known))]
    blocks += [Heading("Data", 3), Listing(data(done, results))]
    blocks += [Heading("Commands", 3), Commands(tuple(commands(frame)))]
    trained_on = sorted(set("trained on " + frame.lmdbs + " (fingerprint " + frame.data_fingerprint + ")"))
    return [*blocks, Items((*trained_on, VALUES))]


def records_of(run: str, rows: pd.DataFrame, results: Path) -> list[dict]:
    """One record per seed of a run, from its provenance.json."""
    names = ", ".join(f"{row.table}/{row.row}" for row in rows.itertuples())
    records = []
    for seed in dict.fromkeys(" ".join([*rows.seeds, *rows.replicates]).split()):
        folder = seed_folder(results, run, seed)
        hours = training_facts(folder, rows.batch.iloc[0])["hours"]
        with damaged(folder / PROVENANCE, "train the run again"):
            provenance = read_json(folder / PROVENANCE, "train the run again")
            train = provenance["train"]
            known = {
                "run": run,
                "seed": seed,
                "rows": names,
                "steps": train["steps"],
                "images": train["images"],
                "hours": hours,
            }
            known |= {key: provenance[key] for key in SHOWN}
            known["precision"] = provenance.get("precision", "a precision that was not recorded")
            known["lmdbs"] = ", ".join(f"{Path(entry['path']).name} ({entry['used']:,})" for entry in train["lmdbs"])
        records.append(known)
    return records


def totals(frame: pd.DataFrame, runs: pd.DataFrame) -> str:
    count = len(set(" ".join(runs.seeds).split()))
    seeds = f"{count} seed{'s' * (count > 1)}, {len(frame)} trainings"  # more than runs x seeds where a baseline has replicates
    return (
        f"{len(runs)} rows in {runs.table.nunique()} tables are {frame.run.nunique()} unique runs and {seeds}: "
        f"{frame.hours.sum():.2f} hours of training steps in all, the first started {min(frame.started)}, the last finished "
        f"{max(frame.finished)}."
    )


def environment(frame: pd.DataFrame) -> list[str]:
    """Code, interpreter, packages, devices and precision; several where runs differ."""
    changed = frame.dirty.map({True: " (with uncommitted changes)"}).fillna("")
    commits = set(frame.commit.fillna("unknown") + changed)
    packages = {", ".join(f"{name} {version}" for name, version in versions.items()) for versions in frame.packages}
    threads = set(frame.device + ", " + frame.threads.astype(str) + " threads")
    lines = [("commit", commits), ("Python", set(frame.python)), ("packages", packages), ("device", threads)]
    lines.append(("trained in", set(frame.precision)))
    return [f"{name}: {' | '.join(sorted(map(str, values)))}" for name, values in lines]


def recordings(frame: pd.DataFrame, results: Path) -> list[str]:
    """Where the training of each run, and its evaluations, were recorded: addresses, or folders of offline ones."""
    lines = []
    for record in frame.itertuples():
        run = seed_folder(results, record.run, record.seed)
        kept = [run, *(path.parent for path in sorted(run.glob("evaluations/*/tracking.json")))]
        if places := list(filter(None, (recorded(folder, run) for folder in kept))):
            lines.append(f"{record.run} seed {record.seed}: {', '.join(places)}")
    return lines


def data(done: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Every benchmark that was read, with its fingerprint and what was left out."""
    lines: dict[str, dict] = {}
    for _, run in done.iterrows():
        for name, entry in read_benchmarks(results, run).items():
            left = ", ".join(f"{left['count']} {reason}" for reason, left in entry.get("left_out", {}).items())
            known = {
                "stored": entry.get("stored", ""),
                "read": entry.get("n", 0),
                "left out": left or entry.get("error", "none"),
            }
            lines.setdefault(name, {**known, "fingerprint": entry.get("fingerprint", "")})
    return pd.DataFrame.from_dict(lines, orient="index").astype(str).rename_axis("benchmark")


def commands(frame: pd.DataFrame) -> list[str]:
    """How every run was trained and read."""
    lines = [shlex.join(["python", "-m", "core.train", *command[1:]]) for command in frame.command]
    first = frame.iloc[0]
    data = shlex.quote(first["data"])
    return [*lines, f"python -m core.evaluate <run>/model.safetensors <evaluation>.gin --data {data} --out <run>/evaluations"]

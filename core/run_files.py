"""The folders and files of runs: the single source of their names. Nothing here needs torch.

results/runs/<run>/
    train.gin, rows.json            what is trained, and the rows that ask for it (written by the plan)
    <evaluation>.gin                a way of decoding (written by the plan)
    seed<k>/                        the run directory of one training
        operative.gin               the gin parameters that were read
        provenance.json             code, packages, machine, data, command, time
        tracking.json               where wandb recorded it
        metrics.jsonl               a line every few steps and for each validation
        state/step-<n>/             resumable states, gone when the training has ended
        bad-step.json               the samples of a step at which it stopped
        out-of-memory.json          how many images at once were too many
        model.safetensors           the trained weights; the training has ended when they are there
        model.json                  how to build the model
        evaluations.json            the list of finished evaluations
        reading_time.json           measured times of reading, of rows that report them
        evaluations/<evaluation>/
            predictions.parquet     one line per image
            metrics.json            scores and times
            tracking.json           where wandb recorded it
"""

from pathlib import Path

RUNS = "runs"
TRAIN_GIN = "train.gin"
ROWS = "rows.json"
OPERATIVE_GIN = "operative.gin"
PROVENANCE = "provenance.json"
TRACKING = "tracking.json"
TRAINING_LOG = "metrics.jsonl"
STATES = "state"
BAD_STEP = "bad-step.json"
OUT_OF_MEMORY = "out-of-memory.json"
MODEL = "model.safetensors"
MODEL_DESCRIPTION = "model.json"
EVALUATIONS_LIST = "evaluations.json"
READING_TIME = "reading_time.json"
EVALUATIONS = "evaluations"
PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"


def seed_folder(folder: Path, seed: int | str) -> Path:
    """The run directory of one training of a run or trial."""
    return folder / f"seed{seed}"


def saved_states(run: Path) -> list[Path]:
    """The whole states of a training, oldest first."""
    return sorted(path for path in (run / STATES).glob("step-*") if path.suffix != ".partial")

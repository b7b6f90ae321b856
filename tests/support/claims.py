"""Studies of Table VI with made-up readings, for the ledger of claims."""

import numpy as np

from reports.claims.results import StudyResults
from tests.support.results import write_results, write_run

IMAGES = 500
BASELINE, OTHER, THIRD = "image0-text6", "image6-text6", "image9-text6"


def study_of(folder, scores: dict[str, list[list[int]]]) -> StudyResults:
    """Table VI of a study: one list of right and wrong images per row and seed."""
    seeds = " ".join(str(seed) for seed in range(len(scores[BASELINE])))
    write_results(folder, "table_VI", {row: by_seed[0] for row, by_seed in scores.items()}, seeds)
    for number, by_seed in enumerate(scores.values()):
        for seed, correct in enumerate(by_seed[1:], 1):
            write_run(folder, f"micro-{number:08d}", correct, seed)
    return StudyResults(folder, folder / "tables")


def readings(share: float, seeds: int, differing: float = 0.1) -> list[list[int]]:
    """Right and wrong of one row: the same hard images for every row, a share of images by luck of the training."""
    rng = np.random.default_rng(round(1000 * share) + seeds)
    hard = np.linspace(0, 1, IMAGES)
    return [
        (np.where(rng.random(IMAGES) < differing, rng.random(IMAGES), hard) < share).astype(int).tolist() for _ in range(seeds)
    ]

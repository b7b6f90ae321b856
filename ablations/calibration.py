"""The estimate against measured hours: those of Table II, on 8 NVIDIA RTX A6000."""

import math
from dataclasses import dataclass

import pandas as pd

from ablations.assumptions import Assumptions
from ablations.plan.plan import Plan
from ablations.price import HOUR
from ablations.row_config import Work
from core.files import ROOT

DEVICES = 8  # caption of Table II
PRECISION = "fp16"  # mixed precision (section IV-A); the device's peak is that of bf16
PRINTED = "reports/published/table_II.csv"


@dataclass(frozen=True)
class Check:
    """One row of Table II.

    Args:
        images: read by its training.
        work: operations per image, the released code's and ours.
        printed: hours.
        estimated: hours of the released code by the formula.
        ours: hours of this code by the formula.
        achieved: operations per second and device that the printed hours amount to.
    """

    row: str
    images: int
    work: Work
    printed: float
    estimated: float
    ours: float
    achieved: float
    utilisation: float

    @property
    def ratio(self) -> float:
        return self.estimated / self.printed


def checks(plan: Plan, works: dict[str, Work], assumptions: Assumptions) -> list[Check]:
    """Every row of Table II whose hours are printed.

    Args:
        plan: the plan of table_II at paper scale with the published sizes.
        works: by row, with the released code's operations.
    """
    printed = pd.read_csv(ROOT / PRINTED).set_index("row")["Hours"].dropna()
    peak = assumptions.paper_device.peak[PRECISION]
    speed = DEVICES * peak * assumptions.utilisation * HOUR  # operations per hour
    found = []
    for row in plan.tables["table_II"]:
        if row.name not in printed.index:
            continue
        work, hours, config = works[row.name], float(printed[row.name]), row.config
        images = config.batch * config.total_steps(plan.source.train_images(config.train_data))
        achieved = images * work.released / (hours * HOUR * DEVICES)
        estimated, ours = images * work.released / speed, images * work.train / speed
        found.append(Check(row.name, images, work, hours, estimated, ours, achieved, achieved / peak))
    return found


def utilisation(found: list[Check]) -> float:
    """The one share of the peak that fits all rows best: the geometric mean of theirs."""
    return math.exp(sum(math.log(check.utilisation) for check in found) / len(found))

"""A ledger with its verdicts: every contrast judged by the printed numbers alone, and by the measured ones."""

from dataclasses import dataclass

import numpy as np

from core.errors import ReportError
from reports.claims.claim import Claim, ClaimLedger, Contrast, ledger_paths, read_ledger
from reports.claims.measured import measured_effect, measured_margin
from reports.claims.printed import printed_effect, printed_margin, without_images
from reports.claims.results import StudyResults
from reports.claims.verdict import UNDECIDED, Effect, Verdict, judge, together
from reports.stats.intervals import CONFIDENCE

NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class Judged:
    """One side of a contrast, printed or measured; `margin` in the unit of the effect, None where the claim has none."""

    effect: Effect
    margin: float | None
    verdict: Verdict

    def record(self) -> dict:
        """The side as JSON: numbers, or null for missing ones."""
        effect, (low, high) = self.effect, (self.effect.interval(CONFIDENCE) or (np.nan,) * 3)[1:]
        numbers = {"value": effect.value, "low": low, "high": high, "image_se": effect.image_se}
        numbers |= {"training_se": effect.training_se, "df": effect.df, "margin": self.margin}
        known = {key: None if value is None or np.isnan(value) else float(value) for key, value in numbers.items()}
        known |= {"unshared_images": effect.unshared} if effect.unshared else {}
        return known | {"seeds": effect.seeds} | self.verdict.record()


@dataclass(frozen=True)
class JudgedContrast:
    contrast: Contrast
    printed: Judged
    measured: Judged


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and the verdicts on it: by the printed numbers alone, and as measured."""

    claim: Claim
    contrasts: tuple[JudgedContrast, ...]

    @property
    def printed(self) -> Verdict:
        return together([contrast.printed.verdict for contrast in self.contrasts])

    @property
    def measured(self) -> Verdict:
        return together([contrast.measured.verdict for contrast in self.contrasts])

    def record(self) -> dict:
        """The claim and its verdicts as JSON."""
        contrasts = [
            {
                "contrast": str(judged.contrast),
                "rows": {"/".join(key): weight for key, weight in judged.contrast.weights.items()},
                "columns": list(judged.contrast.columns),
                "kind": judged.contrast.kind,
                "unit": "ms" if judged.contrast.of_time else "points",
                "published": judged.printed.record(),
                "measured": judged.measured.record(),
            }
            for judged in self.contrasts
        ]
        about = {"id": self.claim.id, "where": self.claim.where, "claim": self.claim.sentence}
        verdicts = {"published": self.printed.record(), "measured": self.measured.record()}
        return about | verdicts | {"contrasts": contrasts}


def judged_ledgers(study: StudyResults) -> list[tuple[ClaimLedger, list[JudgedClaim]]]:
    """Every ledger there is, the paper's first."""
    ledgers = [read_ledger(path) for path in ledger_paths()]
    if not ledgers:
        raise ReportError("no claims to judge: there is no ablations/claims.yaml, and no claims.yaml beside a table.yaml")
    return [(ledger, [judge_claim(claim, study) for claim in ledger.claims]) for ledger in ledgers]


def judge_claim(claim: Claim, study: StudyResults) -> JudgedClaim:
    """Both sides of every contrast."""
    judged = []
    for contrast in claim.contrasts:
        effect = measured_effect(contrast, study)
        margin = None if np.isnan(effect.value) else measured_margin(contrast, study)
        measured = Judged(effect, margin, judge(contrast.kind, margin, effect, len(claim.contrasts)))
        judged.append(JudgedContrast(contrast, judge_printed(contrast, len(claim.contrasts)), measured))
    return JudgedClaim(claim, tuple(judged))


def judge_printed(contrast: Contrast, count: int) -> Judged:
    """By the printed numbers alone; where only the assumed discordant images leave it undecided, the reason says so.

    Args:
        count: contrasts of the claim.
    """
    effect = printed_effect(contrast)
    if np.isnan(effect.value):
        return Judged(effect, None, Verdict(NOT_PUBLISHED, effect.reason))
    margin = printed_margin(contrast)
    verdict = judge(contrast.kind, margin, effect, count)
    if verdict.word == UNDECIDED and effect.decidable:
        alone = judge(contrast.kind, margin, without_images(effect), count).word
        if alone != UNDECIDED:
            why = f"{alone} by training noise alone; which images the rows misread is not published"
            verdict = Verdict(UNDECIDED, why)
    return Judged(effect, margin, verdict)

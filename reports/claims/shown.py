"""A judged ledger as a document, and its files: an overview, the contrasts one by one, and the rules."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from core.files import write_json
from reports.claims.claim import ClaimLedger
from reports.claims.judged import Judged, JudgedClaim, JudgedContrast, judged_ledgers
from reports.claims.results import StudyResults
from reports.claims.verdict import Verdict
from reports.figures import style
from reports.figures.claims import claims_figure
from reports.render.document import Block, Drawing, Heading, Items, Listing, Text, write_document
from reports.render.text import MISSING, signed
from reports.stats.intervals import CONFIDENCE

DETAIL_WIDTHS = (0.04, 0.2, 0.08, 0.12, 0.16, 0.12, 0.05, 0.16)
OVERVIEW_WIDTHS = (0.04, 0.13, 0.29, 0.22, 0.22)
CAPTION = (
    "Claims as published and as measured, with 95 % intervals over trainings and images (dotted: over images alone). Grey: the "
    "margin of claims that something stays the same."
)
RULES = (
    "A claim that something is more or less is supported where the 95 % interval lies wholly on the claimed side of zero, and "
    "contradicted where it lies wholly on the other side; if it states a margin as well, it can come out as the same.",
    "A claim that something stays the same is judged by equivalence: supported where the 90 % interval lies inside the margin "
    "(two one-sided tests at 5 %), contradicted where the 95 % interval lies wholly outside. That a difference is not "
    "significant supports nothing.",
    "A claim of several contrasts is supported only if each is, and contradicted if any is; for that the interval is widened "
    "to 1 - 5 % / contrasts. Nothing is corrected for the number of claims.",
    "One training per row decides nothing, unless training noise is known: from other seeds, replicates, or a stated source.",
    "Published: training noise of the same average from the authors' second training of four models (variance of their "
    "differences / 2, four degrees of freedom); images as if rows misread them independently of each other; each row a "
    "training of its own, also where one model is decoded in two ways; rounding. The last three make intervals too wide rather "
    "than too narrow, and the seeds named are a lower bound, as if images set no limit. But those four models read 89 to 92 % "
    "of the nine sets, and rows that read far less may be noisier than they are.",
    "Times: medians of repeats; in place of an interval the fastest against the slowest repeats.",
)
AT_OTHER_SCALES = (
    "A margin is points at the paper's accuracy. At this scale it is the same share of the baseline's errors: margin x "
    "measured error / published error of the table's baseline on the same columns."
)


def write_claims(study: StudyResults, figures: Path) -> Path:
    """Write the ledgers and their figure; returns the Markdown file."""
    judged = judged_ledgers(study)
    drawing = figures / "claims"
    style.save(claims_figure([claim for _, claims in judged for claim in claims]), drawing)
    blocks = [Heading("Claims", 1), *claim_blocks(judged, study.scale, drawing)]
    paths = write_document(blocks, study.tables / "claims")
    records = [{"title": ledger.title, "claims": [claim.record() for claim in claims]} for ledger, claims in judged]
    write_json(study.tables / "claims.json", {"scale": study.scale, "ledgers": records})
    return paths[0]


def claim_blocks(judged: list[tuple[ClaimLedger, list[JudgedClaim]]], scale: str, figure: Path) -> list[Block]:
    """All ledgers for a document; the figure, which is of all of them, stands with the first.

    Args:
        scale: scale of the study; empty if nothing was planned.
        figure: the drawing, without suffix.
    """
    blocks: list[Block] = []
    for number, (ledger, claims) in enumerate(judged):
        blocks += [Heading(ledger.title), Text(summary(claims, scale)), Listing(overview(claims), OVERVIEW_WIDTHS)]
        blocks += [] if number else [Drawing(figure, CAPTION)]
        blocks += [Heading(f"{ledger.title}: contrast by contrast", 3), Listing(details(claims), DETAIL_WIDTHS)]
        blocks += [Heading(f"{ledger.title}: the numbers", 3), Items(ledger.notes)] if ledger.notes else []
    rules = RULES if scale == "paper" else (*RULES, AT_OTHER_SCALES)
    return [*blocks, Heading("How claims are judged", 3), Items(rules)]


def summary(judged: list[JudgedClaim], scale: str) -> str:
    """The number of claims per verdict, as text."""
    sides = {
        "By the published numbers alone": "printed",
        f"As measured at {scale} scale" if scale else "As measured": "measured",
    }
    sentences = []
    for name, side in sides.items():
        counts = Counter(getattr(claim, side).word for claim in judged)
        sentences.append(f"{name}: {', '.join(f'{count} {word}' for word, count in counts.most_common())}.")
    return f"{len(judged)} claim{'s' * (len(judged) > 1)}. {' '.join(sentences)}"


def overview(judged: list[JudgedClaim]) -> pd.DataFrame:
    """One line per claim."""
    lines = [
        {
            "claim": claim.claim.id,
            "where": claim.claim.where,
            "says": claim.claim.sentence,
            "published": side_text(claim, "printed"),
            "measured": side_text(claim, "measured"),
        }
        for claim in judged
    ]
    return pd.DataFrame(lines).set_index("claim")


def side_text(claim: JudgedClaim, side: str) -> str:
    """The verdict on a claim and, if it is of one contrast, the effect that it rests on."""
    text = verdict_text(getattr(claim, side))
    if len(claim.contrasts) > 1:
        return text
    effect = effect_text(claim.contrasts[0], side)
    return text if effect == MISSING else f"{text}; {effect}"


def details(judged: list[JudgedClaim]) -> pd.DataFrame:
    """One line per contrast."""
    lines = [
        {
            "claim": claim.claim.id,
            "contrast": str(contrast.contrast),
            "kind": kind_text(contrast),
            "published": effect_text(contrast, "printed"),
            "by published numbers alone": verdict_text(contrast.printed.verdict),
            "measured": effect_text(contrast, "measured"),
            "seeds": str(contrast.measured.effect.seeds or ""),
            "as measured": verdict_text(contrast.measured.verdict),
        }
        for claim in judged
        for contrast in claim.contrasts
    ]
    return pd.DataFrame(lines).set_index("claim")


def verdict_text(verdict: Verdict) -> str:
    return f"{verdict.word} ({verdict.why})" if verdict.why else verdict.word


def kind_text(contrast: JudgedContrast) -> str:
    """The kind, with the margin as it was applied: as printed, and as scaled where that differs."""
    margins = [f"{side.margin:.2g}" for side in (contrast.printed, contrast.measured) if side.margin is not None]
    margins = list(dict.fromkeys(margins))
    unit = " ms" if contrast.contrast.of_time else ""
    return f"{contrast.contrast.kind} (±{', here ±'.join(margins)}{unit})" if margins else contrast.contrast.kind


def effect_text(contrast: JudgedContrast, side: str) -> str:
    """A signed value with its interval, or a dash."""
    judged: Judged = getattr(contrast, side)
    effect, decimals = judged.effect, 2 if contrast.contrast.of_time else 1
    if np.isnan(effect.value):
        return MISSING
    text = signed(effect.value, decimals)
    if interval := effect.interval(CONFIDENCE):
        text += f" [{signed(interval.low, decimals)}, {signed(interval.high, decimals)}]"
    text += f"; images left out, as not all rows scored them: {effect.unshared:,}" if effect.unshared else ""
    return text + (" ms" if contrast.contrast.of_time else "")

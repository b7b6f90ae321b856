"""The findings as a page that needs no other file, with thumbnails of what should be looked at."""

import base64
import io
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from core.data.doctor.diagnosis import Diagnosis
from core.data.doctor.duplicates import Place, inside, stored_image, stored_label
from core.data.doctor.scan import Scan
from core.data.doctor.summary import overlap_lines, problems, set_lines
from core.data.doctor.verdict import ANSWERS
from core.errors import UnreadableImage

HEIGHT, WIDTH = 48, 240  # pixels a thumbnail has at most
MOST = 200  # pairs, copies, dropped labels and doubts shown; JSON has them all


def page(diagnosis: Diagnosis, stale: dict[str, str], doubts: Sequence[tuple]) -> str:
    """The page.

    Args:
        stale: why, by run.
        doubts: (place, label, reading, confidence), as `core.data.doctor.suspicious` finds them.
    """
    scans = {found.name: found for found in diagnosis.scans}
    environment = Environment(
        loader=PackageLoader("core.data.doctor", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    copies = [(found, group) for found in diagnosis.scans for group in inside(found)]
    near = [pair for pairs in diagnosis.near.values() for pair in pairs]
    wrong = {found.name: problems(found, diagnosis.near.get(found.name, ())) for found in diagnosis.scans}
    return environment.get_template("doctor.html").render(
        root=str(diagnosis.root),
        sets=set_lines(diagnosis),
        problems=[(name, lines) for name, lines in wrong.items() if lines],
        overlap=overlap_lines(diagnosis),
        verdicts=[(verdict, ANSWERS[verdict.answer]) for verdict in diagnosis.verdicts],
        stale=stale,
        pairs=[(pair, shown(scans, pair.left), shown(scans, pair.right)) for pair in diagnosis.pairs[:MOST]],
        copies=[[shown(scans, Place(found.name, index)) for index in group[:8]] for found, group in copies[:MOST]],
        near=[(pair, shown(scans, pair.left), shown(scans, pair.right)) for pair in near[:MOST]],
        dropped=[(found.name, drop) for found in diagnosis.scans for drop in found.dropped][:MOST],
        doubts=[(shown(scans, doubt[0]), *doubt[2:]) for doubt in doubts[:MOST]],
        most=MOST,
        totals={
            "pairs": len(diagnosis.pairs),
            "copies": len(copies),
            "near": len(near),
            "dropped": sum(len(found.dropped) for found in diagnosis.scans),
            "doubts": len(doubts),
        },
    )


def shown(scans: dict[str, Scan], place: Place) -> dict[str, str]:
    """A sample for the page: where it lies, its label, its picture (empty where it cannot be decoded)."""
    try:
        picture = thumbnail(scans, place)
    except UnreadableImage:
        picture = ""
    return {"where": f"{place.lmdb} {place.index}", "label": stored_label(scans, place), "picture": picture}


def thumbnail(scans: dict[str, Scan], place: Place) -> str:
    """A data URI."""
    image = stored_image(scans, place)
    image.thumbnail((WIDTH, HEIGHT))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()

"""Which characters of a reading are wrong: the reading aligned with its label, as scored."""

from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from core.charset import fold, reduce_text

RIGHT, WRONG, MISSING, UNSCORED = "right", "wrong", "missing", "unscored"
GAP = "_"  # stands for a character that was not read


class Mark(NamedTuple):
    character: str
    kind: str


def marked(label: str, reading: str, charset: str) -> list[Mark]:
    """The characters of a reading as decoded, each right, wrong or not scored, and a gap for each missing one.

    Label and reading are compared as `charset` can write them, by an alignment of least edit distance.
    """
    folded = fold(reading, charset)  # as a whole, since a final sigma is written otherwise; some folds make a word longer
    scored = [reduce_text(character, charset) for character in (folded if len(folded) == len(reading) else reading)]
    wrong, missing = alignment(reduce_text(label, charset), "".join(scored))
    marks, place = [], 0
    for character, written in zip(reading, scored, strict=True):
        if not written:
            marks.append(Mark(character, UNSCORED))
            continue
        marks += [Mark(GAP, MISSING)] * missing.pop(place, 0)
        places = range(place, place + len(written))
        marks.append(Mark(character, WRONG if wrong.intersection(places) else RIGHT))
        place += len(written)
    return marks + [Mark(GAP, MISSING)] * sum(missing.values())


def alignment(label: str, reading: str) -> tuple[set[int], dict[int, int]]:
    """Positions of wrong characters in the reading, and how many are missing before each position."""
    wrong: set[int] = set()
    missing: dict[int, int] = {}
    for step in Levenshtein.opcodes(label, reading):
        if step.tag == "delete":
            missing[step.dest_start] = step.src_end - step.src_start
        elif step.tag != "equal":
            wrong |= set(range(step.dest_start, step.dest_end))
    return wrong, missing

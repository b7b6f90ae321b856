"""Places labels beside marks so that they cover neither each other nor the marks; deterministic.

K marks, S spots a label may take, B and O boxes (left, bottom, right, top), L lines (two ends); all in points.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from reports.figures import style

RINGS = (4.0, 8.0, 13.0, 19.0, 26.0, 34.0, 44.0)  # points between a mark and its label
ANGLES = np.radians([0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 68, 292, 112, 248])
LEADER = 6.0  # points: a label further away than this gets a line to its mark
MARK = 2.5  # points: half the size of a mark
KEPT, STARTS, ROUNDS = 100, 40, 20  # spots per label, orders in which labels are placed, times each is placed again


@dataclass(frozen=True)
class Spots:
    """Where one label could stand, best first when it is alone; `lines` join far ones to the mark, nan where there is none."""

    boxes: np.ndarray  # S 4
    lines: np.ndarray  # S 2 2
    costs: np.ndarray  # S


def spots_of(mark: np.ndarray, size: np.ndarray, others: np.ndarray, taken: np.ndarray, frame: np.ndarray) -> Spots:
    """Spots around a mark, rated by distance, area outside the frame or over what is taken, and lines through others.

    Args:
        others: boxes of the marks elsewhere and their bars.  # O 4
        taken: boxes of all marks and bars.  # B 4
    """
    towards = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    square = towards / np.abs(towards).max(axis=1, keepdims=True)  # boxes move along the sides of a square
    middle = np.array([mark + ring * towards[i] + square[i] * size / 2 for ring, i in product(RINGS, range(len(ANGLES)))])
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)  # S 4
    near = np.clip(mark, boxes[:, :2], boxes[:, 2:])  # S 2
    distance = np.hypot(*(near - mark).T)  # S
    lines = np.stack([np.broadcast_to(mark, near.shape), near], axis=1)  # S 2 2
    lines[distance <= LEADER] = np.nan
    outside = size.prod() - shared(boxes, frame[None]).sum(axis=1)
    through = hits(lines, others).sum(axis=1)
    doubtful = gaps(boxes, others).min(axis=1, initial=np.inf) < LEADER
    costs = distance + 10 * outside + 20 * shared(boxes, taken).sum(axis=1) + 45 * through + 15 * doubtful
    best = np.argsort(costs, kind="stable")[:KEPT]
    return Spots(boxes[best], lines[best], costs[best])


def shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Area that each box shares with each other one."""
    sides = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    return sides.clip(min=0).prod(axis=2)  # B O


def gaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance from each box to each other one."""
    beyond = np.maximum(boxes[:, None, :2] - others[:, 2:], others[:, :2] - boxes[:, None, 2:]).clip(min=0)
    return np.hypot(beyond[..., 0], beyond[..., 1])  # B O


def hits(lines: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether each line runs through each box: the stretches where it is between left and right, bottom and top, meet."""
    start, along = lines[:, None, 0], lines[:, None, 1] - lines[:, None, 0]
    along = np.where(along == 0, 1e-9, along)
    low, high = (boxes[:, :2] - start) / along, (boxes[:, 2:] - start) / along
    enter, leave = np.minimum(low, high).max(axis=2), np.maximum(low, high).min(axis=2)
    return (enter <= leave) & (leave >= 0) & (enter <= 1)  # L B


def crossing(lines: np.ndarray) -> np.ndarray:
    """Whether each line crosses each other one: the ends of both lie on different sides of the other."""
    along = lines[:, 1] - lines[:, 0]
    to = lines[None] - lines[:, None, :1]  # L L 2 2
    side = along[:, None, None, 0] * to[..., 1] - along[:, None, None, 1] * to[..., 0]
    apart = side[..., 0] * side[..., 1] < 0
    return apart & apart.T  # L L


def arrange(labels: list[Spots]) -> list[int]:
    """One spot per label, so that labels and their lines disturb each other least.

    From several starts, labels are placed one by one, each again with the others where they are, until none moves.
    """
    boxes = np.concatenate([spots.boxes for spots in labels])
    lines = np.concatenate([spots.lines for spots in labels])
    through = hits(lines, boxes)
    clash = 10 * shared(boxes, boxes) + 200 * (through | through.T) + 40 * crossing(lines)
    first = np.cumsum([0, *(len(spots.costs) for spots in labels)])
    ranges = [slice(a, b) for a, b in zip(first, first[1:], strict=False)]
    best, least = [], np.inf
    rng = np.random.default_rng(0)
    for _ in range(STARTS):
        chosen = np.array([place.start for place in ranges])
        order = rng.permutation(len(labels))
        for _ in range(ROUNDS):
            before = chosen.copy()
            for i in order:
                others = np.delete(chosen, i)
                chosen[i] = first[i] + np.argmin(labels[i].costs + clash[ranges[i]][:, others].sum(axis=1))
            if (chosen == before).all():
                break
        pairs = np.triu(clash[np.ix_(chosen, chosen)], 1).sum()
        total = pairs + sum(spots.costs[place - at] for spots, place, at in zip(labels, chosen, first, strict=False))
        if total < least:
            best, least = [int(place - at) for place, at in zip(chosen, first, strict=False)], total
    return best


def label_marks(axes: Axes, x: np.ndarray, y: np.ndarray, texts: list[str], bars: np.ndarray) -> list[Annotation]:
    """Write a text beside each mark, with a thin line to it where it had to move away; the limits must be final.

    Args:
        x, y: positions of the marks in data units.
        bars: lower and upper end of each mark's interval in data units, which labels keep off.  # K 2
    """
    points = 72 / axes.figure.dpi
    marks = axes.transData.transform(np.column_stack([x, y])) * points
    low, high = (axes.transData.transform(np.column_stack([x, bars[:, side]])) * points for side in (0, 1))
    dots = np.concatenate([marks - MARK, marks + MARK], axis=1)
    lines = np.concatenate([low - (0.5, 0), high + (0.5, 0)], axis=1)
    frame = (axes.transAxes.transform([(0, 0), (1, 1)]) * points).ravel()
    labels = []
    for text, mark in zip(texts, marks, strict=True):
        size = np.array([72 * style.text_width(text, style.TINY) + 2, 1.25 * style.TINY])
        elsewhere = ~np.isclose(marks, mark, atol=MARK).all(axis=1)
        others = np.concatenate([dots[elsewhere], lines[elsewhere]])
        labels.append(spots_of(mark, size, others, np.concatenate([dots, lines]), frame))
    written = []
    for text, mark, spots, place in zip(texts, marks, labels, arrange(labels), strict=True):
        written.append(annotate(axes, text, mark, spots.boxes[place], spots.lines[place]))
    return written


def annotate(axes: Axes, text: str, mark: np.ndarray, box: np.ndarray, line: np.ndarray) -> Annotation:
    """One label in its spot."""
    to_data, pixels = axes.transData.inverted().transform, axes.figure.dpi / 72
    if np.isfinite(line).all():
        axes.plot(*to_data(line * pixels).T, color=style.GREY, linewidth=0.4, zorder=1.5)
    offset = (box[:2] + box[2:]) / 2 - mark
    where = to_data(mark * pixels)
    return axes.annotate(text, where, offset, textcoords="offset points", ha="center", va="center", size=style.TINY)

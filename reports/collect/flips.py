"""Images that a row reads right and the baseline wrong, or the other way round, with thumbnails: what a table's cells open."""

import base64
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from PIL import Image

from core.data.benchmarks import benchmarks_of
from core.data.environments import environment
from core.data.folders import lmdbs_below
from core.data.images import decode_image
from core.data.keys import image_key
from core.data.lmdb import WHOLE
from core.data.sets import fingerprint
from core.errors import DataError, UnreadableImage, UserError
from reports.collect.predictions import IMAGE, read_benchmarks, read_predictions
from reports.table import Table

Images = Callable[[str, str, int], Image.Image]  # of a benchmark, an LMDB below it, and a key number
THUMBNAIL = (128, 128)  # pixels at most; smaller images stay as they are
QUALITY = 70  # of WebP: 1 to 2 KB per word
SHOWN = 12  # images per side and cell


@dataclass(frozen=True)
class Flip:
    """One image and its two readings.

    Args:
        lmdb, index: the LMDB below the benchmark's folder, and the key number in it.
        thumbnail: a small image as a data URI; empty if there is none.
        unseen: why there is none.
    """

    benchmark: str
    lmdb: str
    index: int
    label: str
    ours: str
    baseline: str
    thumbnail: str
    unseen: str = ""


@dataclass(frozen=True)
class Flips:
    """The images that a row won and lost against the baseline.

    Args:
        n: images that both read.
        won: number of these that are right in the row and wrong in the baseline.
        lost: the other way round.
        won_shown, lost_shown: some of them, in the order of their benchmarks.
    """

    n: int
    won: int
    lost: int
    won_shown: tuple[Flip, ...]
    lost_shown: tuple[Flip, ...]


def flips_of_table(table: Table) -> dict[tuple[str, str], Flips]:
    """Flips by row and column name, of the first seed; none for the baseline, for facts and for cells without numbers."""
    baseline, runs = table.layout.baseline, table.runs
    if baseline is None or runs.reason[baseline]:
        return {}
    images = stored_images(Path(runs.data_root[baseline]), read_benchmarks(table.results, runs.loc[baseline]))
    first = {row: read_predictions(table.results, run) for row, run in runs.iterrows() if not run.reason}
    first = {row: frame[frame.seed == frame.seed.min()] for row, frame in first.items()}
    flips = {}
    for row in first:
        for column in table.scored:
            pair = [frame[frame.benchmark.isin(column.benchmarks)] for frame in (first[row], first[baseline])]
            if row != baseline and len(pair[0]) and len(pair[0]) == len(pair[1]):
                flips[row, column.name] = flips_of(*pair, images, SHOWN)
    return flips


def flips_of(ours: pd.DataFrame, baseline: pd.DataFrame, images: Images, limit: int) -> Flips:
    """Count the flipped images of a row and show some of them.

    Which ones is decided by a fixed shuffle of all images, the same for every row and column: so the choice looks at no
    reading, and rows that flip the same images show the same.

    Args:
        ours, baseline: IMAGE, `label`, `reading`, `correct`, one line per image, of one seed.
        images: an image by IMAGE, see `stored_images`.
        limit: at most so many of those won and so many of those lost.
    """
    both = ours.merge(baseline[[*IMAGE, "reading", "correct"]], on=IMAGE, suffixes=("", "_baseline"))
    if not len(ours) == len(baseline) == len(both):
        raise UserError(
            f"{len(both)} of {len(ours)} and {len(baseline)} images are in both rows, once each; give the readings of one "
            "seed on the same images"
        )
    flipped = {"won": both[both.correct & ~both.correct_baseline], "lost": both[~both.correct & both.correct_baseline]}
    shown = {name: tuple(flip(line, images) for line in chosen(lines, limit).itertuples()) for name, lines in flipped.items()}
    return Flips(len(both), len(flipped["won"]), len(flipped["lost"]), shown["won"], shown["lost"])


def chosen(lines: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The first `limit` lines of a shuffle that depends on nothing but the images' names, back in order."""
    names = zip(*(lines[name] for name in IMAGE), strict=True)
    texts = (" ".join([benchmark, *([lmdb] if lmdb != WHOLE else []), str(index)]) for benchmark, lmdb, index in names)
    places = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    return lines.assign(place=places).sort_values("place").head(limit).sort_values(IMAGE)


def flip(line: tuple, images: Images) -> Flip:
    """A flipped image with its thumbnail, or with the reason why it has none."""
    thumbnail, unseen = "", ""
    try:
        thumbnail = data_uri(images(line.benchmark, line.lmdb, line.index))
    except UnreadableImage as error:
        unseen = str(error)
    return Flip(line.benchmark, line.lmdb, int(line.index), line.label, line.reading, line.reading_baseline, thumbnail, unseen)


def data_uri(image: Image.Image) -> str:
    """An image, made small, as text that a page can hold."""
    small = image.copy()
    small.thumbnail(THUMBNAIL)
    held = io.BytesIO()
    small.save(held, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(held.getvalue()).decode()


def stored_images(data: Path, benchmarks: Mapping[str, Mapping] = MappingProxyType({})) -> Images:
    """Look images up in the folders of DATA/test.

    The function raises UnreadableImage, naming no path, where a benchmark or LMDB is not there, or holds other images than
    those that were read, and for an image that cannot be decoded.

    Args:
        benchmarks: entries of metrics.json, whose fingerprints tell what was read.
    """
    try:
        folders = benchmarks_of(data)
    except DataError:
        folders = {}

    @lru_cache
    def folder_of(benchmark: str) -> Path:
        if benchmark not in folders:
            raise UnreadableImage(f"{benchmark} is not in the data any more")
        known = benchmarks.get(benchmark, {}).get("fingerprint")
        if known and known != fingerprint(folders[benchmark]):
            raise UnreadableImage(f"{benchmark} holds other images now than were read")
        return folders[benchmark]

    def image(benchmark: str, lmdb: str, index: int) -> Image.Image:
        folder = folder_of(benchmark)
        below = lmdbs_below(folder) if lmdb == WHOLE else []  # predictions of earlier versions name no LMDB
        try:
            database = environment(below[0] if len(below) == 1 else folder / lmdb)
        except DataError as error:
            raise UnreadableImage(f"the LMDB of {benchmark} cannot be opened") from error
        with database.begin(buffers=True) as transaction:
            raw = transaction.get(image_key(index).encode())
            if raw is None:
                raise UnreadableImage("no such key")
            return decode_image(raw)

    return image

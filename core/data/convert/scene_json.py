"""Scenes whose words are JSON objects with "transcription" and "points"; the axis-aligned box around the points is cut out.

art           ArT: {"gt_0": [word, ...], ...}, words with "language" and "illegibility"; without points, an image of one word
lsvt          LSVT: the same without "language"
rects         ReCTS: one file per scene, {"chars": [...], "lines": [word, ...]}, words with "ignore"; the lines are read
ppocrlabel    PPOCRLabel's Label.txt: image<TAB>[word, ...], words with "difficult"
"""

from collections.abc import Iterator
from pathlib import Path

from core.data.convert.lists import IMAGE_SUFFIXES
from core.data.convert.source import (
    ImageFinder,
    Item,
    LeftOut,
    Listing,
    SourceOptions,
    first_line,
    label_text,
    listed,
    loads,
    malformed,
    numbered_lines,
    parse_json,
    pick_file,
    polygon,
)
from core.errors import DataError

ART = 'train_labels.json, train_task2_labels.json of ArT ({"gt_0": [{"transcription", "points", "language", "illegibility"}]})'
LSVT = 'train_full_labels.json of LSVT ({"gt_0": [{"transcription", "points", "illegibility"}]}) with the scenes or --images'
RECTS = 'a folder with gt/train_ReCTS_000001.json, ... ({"chars": [...], "lines": [{"transcription", "points", "ignore"}]})'
PPOCRLABEL = 'Label.txt of PPOCRLabel (image<TAB>[{"transcription", "points", "difficult"}]), or its folder'
MARKS = ("illegibility", "illegible", "ignore", "difficult")  # fields by which a word is marked as not to be read


def words_of(path: Path, place: str, entries: object, scene: str, file: Path | None, options: SourceOptions) -> Listing:
    """The words of one scene.

    Args:
        place: of the scene in the annotation file, for messages.
        scene: its name there.
        file: its image, or None.
    """
    if not isinstance(entries, list):
        raise DataError(f"{path}, {place}: expected a list of words, found {entries!s:.80}")
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, {place}, word {number}"
        if not isinstance(entry, dict) or "transcription" not in entry:
            raise DataError(f"{where}: expected an object with transcription, found {entry!s:.80}")
        yield word_of(f"{path.name}:{scene}#{number}", where, entry, scene, file, options)


def word_of(key: str, where: str, entry: dict, scene: str, file: Path | None, options: SourceOptions) -> Item | LeftOut:
    label = label_text(where, entry["transcription"])
    reason = next((f"marked not to be read ({mark})" for mark in MARKS if truth(where, mark, entry.get(mark))), None)
    if "language" in entry:
        reason = reason or options.other_language(entry["language"])
    if reason:
        return LeftOut(key, reason, label or "")
    return listed(key, label, file, scene, polygon(where, entry["points"]) if "points" in entry else None)


def truth(where: str, mark: str, value: object) -> bool:
    if value not in (None, 0, 1):
        raise DataError(f"{where}: {mark} = {value!s:.80}, expected true or false")
    return bool(value)


def json_files(source: Path) -> Iterator[Path]:
    yield from [source] if source.suffix == ".json" else sorted(source.glob("*.json"))


def detect_art(source: Path) -> bool:
    return any(has(path, b'"illegibility"') and has(path, b'"language"') for path in json_files(source))


def detect_lsvt(source: Path) -> bool:
    return any(has(path, b'"illegibility"') and not has(path, b'"language"') for path in json_files(source))


def has(path: Path, field: bytes) -> bool:
    return path.is_file() and field in path.read_bytes()


def read_by_scene(source: Path, options: SourceOptions) -> Listing:
    """ArT and LSVT: one file, an object of scenes."""
    path = pick_file(source, ("*.json",), options.split)
    finder, content = ImageFinder(options.images or path.parent), parse_json(path)
    if not isinstance(content, dict):
        raise DataError(f'{path}: expected an object {{"gt_0": [{{"transcription": ...}}, ...], ...}}')
    for scene, entries in content.items():
        yield from words_of(path, scene, entries, scene, finder.find(scene), options)


def rects_files(source: Path) -> list[Path]:
    return sorted((source / "gt" if (source / "gt").is_dir() else source).glob("*.json"))


def detect_rects(source: Path) -> bool:
    files = rects_files(source)[:1]
    return bool(files) and has(files[0], b'"chars"') and has(files[0], b'"lines"')


def read_rects(source: Path, options: SourceOptions) -> Listing:
    files = rects_files(source)
    if not files:
        raise DataError(f"{source}: no .json in it or in gt/; name the folder that holds one file per scene")
    beside = source.parent if source.name == "gt" else source
    finder = ImageFinder(options.images or beside)
    for path in files:
        content = parse_json(path)
        if not isinstance(content, dict) or "lines" not in content:
            raise DataError(f'{path}: expected an object {{"chars": [...], "lines": [...]}}')
        yield from words_of(path, "lines", content["lines"], path.stem, finder.find(path.stem), options)


def label_files(source: Path) -> list[Path]:
    return [source] if source.suffix == ".txt" else [path for path in [source / "Label.txt"] if path.is_file()]


def detect_ppocrlabel(source: Path) -> bool:
    lines = [first_line(path).partition("\t") for path in label_files(source)]
    return any(Path(image).suffix.lower() in IMAGE_SUFFIXES and words.startswith("[") for image, _, words in lines)


def read_ppocrlabel(source: Path, options: SourceOptions) -> Listing:
    """Paths count from the folder of Label.txt or, as PPOCRLabel writes them, from the folder above."""
    path = pick_file(source, ("Label.txt",), options.split)
    finders = [ImageFinder(options.images or folder) for folder in (path.parent, path.resolve().parent.parent)]
    for number, line in numbered_lines(path):
        image, tab, words = line.partition("\t")
        if not tab:
            raise malformed(path, number, 'image<TAB>[{"transcription": ...}, ...]', line)
        file = next(filter(None, (finder.at(image) for finder in finders)), None)
        place = f"line {number}"
        yield from words_of(path, place, loads(f"{path}, {place}", words.encode()), image, file, options)

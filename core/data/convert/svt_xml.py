"""Street View Text: train.xml and test.xml with rectangles in street scenes; the words are cut out."""

from pathlib import Path
from xml.etree import ElementTree

from core.data.convert.source import ImageFinder, Listing, SourceOptions, listed, pick_file
from core.errors import DataError

LOOKS = "the folder with train.xml and test.xml beside img/ (say --split), or one of them: <taggedRectangle> elements"


def detect(source: Path) -> bool:
    files = [source] if source.suffix == ".xml" else [source / "train.xml", source / "test.xml"]
    return any(path.is_file() and b"<taggedRectangle" in path.read_bytes() for path in files)


def read(source: Path, options: SourceOptions) -> Listing:
    """The words of all scenes, in the order of the file."""
    path = pick_file(source, ("*.xml",), options.split)
    finder = ImageFinder(options.images or path.parent)
    try:
        scenes = ElementTree.parse(path).getroot().findall("image")
    except ElementTree.ParseError as error:
        raise DataError(f"{path}, line {error.position[0]}: not valid XML ({error}); download it again") from error
    if not scenes:
        raise DataError(f"{path}: no <image> element; expected <tagset><image><imageName>...<taggedRectangle>")
    for scene in scenes:
        name = (scene.findtext("imageName") or "").strip()
        file = finder.find(name) if name else None
        for number, rectangle in enumerate(scene.iter("taggedRectangle"), start=1):
            key = f"{path.name}:{name}#{number}"
            tags = rectangle.findall("tag")
            if len(tags) > 1 or any(len(tag) for tag in tags):
                raise DataError(f"{path}: {name}, rectangle {number}: expected one <tag> with text alone; mend it")
            try:
                left, top, width, height = (float(rectangle.attrib[side]) for side in ("x", "y", "width", "height"))
            except (KeyError, ValueError) as error:
                raise DataError(
                    f"{path}: {name}, rectangle {number}: x, y, width and height must be numbers, found {rectangle.attrib}"
                ) from error
            yield listed(key, tags[0].text if tags else None, file, name, (left, top, left + width, top + height))

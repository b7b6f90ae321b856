"""Contact sheets: a few rendered words of each family with their labels, in one PNG."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from core.data.render.fonts import load_font
from core.data.render.page import Page
from core.files import atomic_file

COLUMNS, GAP, CAPTION, MARGIN = 6, 6, 13, 116  # images per row; pixels between, under and left of them
HUFFMAN_ONLY = 2  # no search for matches, so the bytes do not depend on the processor, and noise has none anyway


def png_bytes(image: Image.Image) -> bytes:
    """The image as a PNG, the same bytes on any processor."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_type=HUFFMAN_ONLY)
    return stream.getvalue()


def contact_sheet(drawn: Iterable[tuple[Image.Image, str, str]], families: Sequence[str], page: Page, out: Path) -> None:
    """One row per family, its first COLUMNS images each over its word; (image, word, family) may come in any order."""
    rows = {family: [] for family in families}
    for image, word, family in drawn:
        if len(rows[family]) < COLUMNS:
            rows[family].append((image, word))
    across, down = max(page.widths or (page.width,)) + GAP, page.height + CAPTION + GAP
    shown = [image.mode for images in rows.values() for image, _ in images]
    mode = "RGB" if "RGB" in shown else "L"
    sheet = Image.new(mode, (MARGIN + COLUMNS * across, GAP + len(rows) * down), "white")
    pen, font = ImageDraw.Draw(sheet), load_font("DejaVuSans.ttf", 11)
    for row, (family, images) in enumerate(rows.items()):
        top = GAP + row * down
        pen.text((GAP, top + page.height // 2 - 7), family.replace("_", " "), font=font, fill="black")
        for column, (image, word) in enumerate(images):
            left = MARGIN + column * across
            sheet.paste(image, (left, top))
            pen.text((left, top + page.height), word, font=font, fill=(90, 90, 90) if mode == "RGB" else 90)
    with atomic_file(out) as partial:
        partial.write_bytes(png_bytes(sheet))

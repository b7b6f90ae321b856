"""The image size and the fonts of rendered words, the same for all families."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """The image of a word, and the fonts for it.

    Args:
        height, width: size of the image in pixels.
        margin: least distance of the word from each edge, fraction of the image side.
        fonts: names as `load_font` takes them; each word draws one.
        font_size: pixels per em, before the word is stretched over the image.
        oversampling: words are stretched over an image of so many times the size, then shrunk, so that long ones keep their
            thin strokes.

    Raises:
        ValueError: no font, or a size that is not positive.
    """

    height: int
    width: int
    margin: float
    fonts: tuple[str, ...]
    font_size: int
    oversampling: int

    def __post_init__(self):
        for name in ("height", "width", "font_size", "oversampling"):
            if getattr(self, name) < 1:
                raise ValueError(f"Page.{name} = {getattr(self, name)}: take 1 or more")
        if not 0 <= self.margin < 0.5:
            raise ValueError(f"Page.margin = {self.margin}: it lies in [0, 0.5)")
        if not self.fonts or isinstance(self.fonts, str):
            raise ValueError(f"Page.fonts = {self.fonts!r}: expected one or more font files, like ('DejaVuSans.ttf',)")

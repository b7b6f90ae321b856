"""The image size and the fonts of rendered words, the same for all families."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """The image of a word, and the fonts for it.

    Args:
        height, width: size of the image in pixels.
        margin: least distance of the word from each edge, fraction of the image side.
        slack: room that a crop may leave beyond it above and below the word, and to its left and right; fractions of the height
            and the width, at each edge up to so much.
        widths: None draws every word over the whole width. Otherwise an image is as wide as its word is long, and somewhat
            stretched, between these two numbers of pixels: as a crop of a photograph is, which only a reader resizes.
        fonts: names as `load_font` takes them; each word draws one.
        font_size: pixels per em, before the word is stretched over the image.
        oversampling: words are stretched over an image of so many times the size, then shrunk, so that long ones keep their
            thin strokes.

    Raises:
        ValueError: no font, a size that is not positive, or more room around the word than there is.
    """

    height: int
    width: int
    margin: float
    slack: tuple[float, float]
    widths: tuple[int, int] | None
    fonts: tuple[str, ...]
    font_size: int
    oversampling: int

    def __post_init__(self):
        for name in ("height", "width", "font_size", "oversampling"):
            if getattr(self, name) < 1:
                raise ValueError(f"Page.{name} = {getattr(self, name)}: take 1 or more")
        if not 0 <= self.margin < 0.5:
            raise ValueError(f"Page.margin = {self.margin}: it lies in [0, 0.5)")
        if min(self.slack) < 0 or self.margin + max(self.slack) >= 0.5:
            raise ValueError(
                f"Page.slack = {self.slack}: each lies in [0, {0.5 - self.margin:g}), as Page.margin is {self.margin}"
            )
        if self.widths is not None and not 1 <= self.widths[0] <= self.widths[1]:
            raise ValueError(f"Page.widths = {self.widths}: expected (least, most) pixels, or None")
        if not self.fonts or isinstance(self.fonts, str):
            raise ValueError(f"Page.fonts = {self.fonts!r}: expected one or more font files, like ('DejaVuSans.ttf',)")

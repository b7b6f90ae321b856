"""A family of rendered words: how they are written and distorted, to imitate one kind of benchmark."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Family:
    """How the words of one family are written, bent, hidden and blurred; 0 switches an effect off (`downscale`: 1).

    A value is the maximum of its effect. Each word draws its own strength: between zero and the maximum, or, if there is a
    field `least_...`, between that share of the maximum and the maximum.

    Args:
        name: name of the benchmark that the family makes.
        trained: whether training sets have words of it, too; False for a family that is met in test alone.
        upper, capitalised: shares of the words in capitals, and with a capital first letter; the others are as listed.
        numbers: share of the images that show a number of two to six digits instead of a word.
        signs: share of the words with a punctuation mark, behind them or between two letters.
        contrast: least difference between the grey levels of ink and background, up to 127.
        gradient: change of the background from middle to edge, across and down each, in grey levels, either way.
        perspective: corner shift, fraction of the image side.
        curvature: sagitta of the baseline, fraction of the height, either way; letters stay upright.
        arc: degrees of a circle that the baseline spans, either way; letters turn with it.
        rotation: degrees, either way.
        downscale: linear factor lost by low resolution.
        occlusion: share of the image's width that a bar covers.
        opacity: opacity of that bar.
        patches: number of opaque patches, each of up to a third of the image's height and a tenth of its width.
        blur: Gaussian radius, pixels.
        noise: standard deviation, grey levels.
        colour: how colourful ink and background are; 0 draws grey images.
        texture: standard deviation of the background's texture at most, grey levels; the ink has half of it.
        outline: share of the words with an outline or a cast shadow.
        shade: share of the light that a shadow over part of the image takes.
        compression: points of JPEG quality below 100 that are lost at most.

    Raises:
        ValueError: a value out of its range.
    """

    name: str
    trained: bool
    upper: float
    capitalised: float
    numbers: float
    signs: float
    contrast: float
    gradient: float
    perspective: float
    curvature: float
    arc: float
    least_arc: float
    rotation: float
    least_rotation: float
    downscale: float
    least_downscale: float
    occlusion: float
    least_occlusion: float
    opacity: float
    patches: int
    least_patches: float
    blur: float
    least_blur: float
    noise: float
    least_noise: float
    colour: float
    texture: float
    outline: float
    shade: float
    compression: float

    def __post_init__(self):
        shares = ("upper", "capitalised", "numbers", "signs", "occlusion", "opacity", "colour", "outline", "shade")
        limits = {"contrast": (0, 127), "downscale": (1, 32), "arc": (0, 180), "patches": (0, 100), "compression": (0, 95)}
        limits |= dict.fromkeys(shares, (0, 1))
        for field in fields(self)[2:]:
            low, high = limits.get(field.name, (0, 1) if field.name.startswith("least_") else (0, float("inf")))
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"Family.{field.name} = {value} of family {self.name!r}: it lies in [{low}, {high}]")
        if self.upper + self.capitalised > 1:
            raise ValueError(f"Family.upper + Family.capitalised of family {self.name!r}: more than all words")

    @property
    def scenic(self) -> bool:
        """Whether its words have more around them than grey levels (`core.data.render.scene`)."""
        return bool(self.colour or self.texture or self.outline or self.shade)

    def bent(self, distortion: float) -> "Family":
        """The same family with its geometry (perspective, curvature, arc, rotation) times `distortion`."""
        bent = {name: distortion * getattr(self, name) for name in ("perspective", "curvature", "arc", "rotation")}
        return replace(self, **bent)

    def as_listed(self) -> "Family":
        """The same family with words written just as a list has them."""
        return replace(self, upper=0.0, capitalised=0.0, numbers=0.0, signs=0.0)

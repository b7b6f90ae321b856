"""A family of rendered words: what happens to each of them, as one kind of benchmark has it."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Family:
    """How the words of one family are bent, hidden and blurred; 0 switches an effect off (`downscale`: 1).

    A strength is the most of its effect. Each word draws its own: between none and the most where there is no field
    `least_...`, else between that share of the most and the most.

    Args:
        name: of the benchmark that the family makes.
        contrast: least difference between the grey levels of ink and background, up to 127.
        gradient: of the background from middle to edge, across and down each, grey levels, either way.
        perspective: corner shift, fraction of the image side.
        curvature: sagitta of the baseline, fraction of the height, either way.
        rotation: degrees, either way.
        downscale: linear factor lost by low resolution.
        occlusion: share of the image's width that a bar covers.
        opacity: of that bar.
        blur: Gaussian radius, pixels.
        noise: standard deviation, grey levels.

    Raises:
        ValueError: a value out of its range.
    """

    name: str
    contrast: float
    gradient: float
    perspective: float
    curvature: float
    rotation: float
    least_rotation: float
    downscale: float
    least_downscale: float
    occlusion: float
    least_occlusion: float
    opacity: float
    blur: float
    least_blur: float
    noise: float
    least_noise: float

    def __post_init__(self):
        limits = {"contrast": (0, 127), "downscale": (1, 32), "occlusion": (0, 1), "opacity": (0, 1)}
        for field in fields(self)[1:]:
            low, high = limits.get(field.name, (0, 1) if field.name.startswith("least_") else (0, float("inf")))
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"Family.{field.name} = {value} of family {self.name!r}: it lies in [{low}, {high}]")

    def bent(self, distortion: float) -> "Family":
        """The same family with its geometry (perspective, curvature, rotation) times `distortion`."""
        return replace(
            self,
            perspective=distortion * self.perspective,
            curvature=distortion * self.curvature,
            rotation=distortion * self.rotation,
        )

"""The assumptions of a price estimate about devices and words (ablations/devices.yaml), and their checks."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from core.charset import MAX_LETTERS
from core.choices import PRECISIONS
from core.errors import ConfigError
from core.files import ABLATIONS, read_utf8
from reports.layout import WORLDS

DEVICES = ABLATIONS / "devices.yaml"
DISCORDANT = 0.05  # share of images; rows of 91 % that misread independently of each other would have 0.16
SHARES = ("utilisation", "distinct_captions", "mixed_saved", "usable_memory")
NUMBERS = (*SHARES, "prediction_bytes")


@dataclass(frozen=True)
class Device:
    """One kind of GPU; `peak` is operations per second by precision."""

    key: str
    name: str
    memory_gb: float
    peak: dict[str, float]


@dataclass(frozen=True)
class Assumptions:
    """The estimate's inputs besides the model's own operation count; ablations/devices.yaml explains each."""

    device: Device
    paper_device: Device  # of Table II's hours
    utilisation: float
    distinct_captions: float
    mixed_saved: float
    usable_memory: float
    prediction_bytes: float
    drawn_per_second: dict[str, float]
    word_lengths: tuple[int, ...]

    @property
    def usable_bytes(self) -> float:
        """The device memory that a training step can use."""
        return 1e9 * self.device.memory_gb * self.usable_memory


def read_assumptions(device: str | None = None, path: Path = DEVICES) -> Assumptions:
    """The assumptions of a file, for one of its devices (its default when left out).

    Raises:
        ConfigError: naming file, key and value.
    """
    try:
        content = yaml.safe_load(read_utf8(path))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); see {DEVICES} for what it should say") from error
    expected = {"default", "paper", "devices", "drawn_per_second", "word_lengths", *NUMBERS}
    if not isinstance(content, dict) or set(content) != expected:
        keys = set(content) if isinstance(content, dict) else set()
        wrong = sorted(expected ^ keys)
        raise ConfigError(f"{path}: key {wrong[0]!r} is {'missing' if wrong[0] in expected else 'not known'}; see {DEVICES}")
    refuse_numbers(path, content)
    devices = {key: device_of(path, key, entry) for key, entry in dict(content["devices"] or {}).items()}
    for name in (device, content["default"], content["paper"]):
        if name is not None and name not in devices:
            raise ConfigError(f"{path}: no device {name!r}; it has {', '.join(devices)}. Add it there, or give --devices FILE")
    return Assumptions(
        device=devices[device or content["default"]],
        paper_device=devices[content["paper"]],
        drawn_per_second=dict(content["drawn_per_second"]),
        word_lengths=tuple(content["word_lengths"]),
        **{key: content[key] for key in NUMBERS},
    )


def refuse_numbers(path: Path, content: dict) -> None:
    """Raises ConfigError for an assumption that is not the number, or the numbers, it should be."""
    for key in NUMBERS:
        value = content[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ConfigError(f"{path}: {key} = {value!r} is not a positive number")
        if key in SHARES and value > 1:
            raise ConfigError(f"{path}: {key} = {value}: a share lies in (0, 1]")
    rates = content["drawn_per_second"]
    for world in WORLDS:
        rate = rates.get(world) if isinstance(rates, dict) else None
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate <= 0:
            raise ConfigError(f"{path}: drawn_per_second.{world} = {rate!r} is not a positive number")
    lengths = content["word_lengths"]
    counts = isinstance(lengths, list) and all(type(number) is int and number >= 0 for number in lengths)
    if not counts or not 1 <= len(lengths) <= MAX_LETTERS or sum(lengths) == 0:
        raise ConfigError(
            f"{path}: word_lengths = {lengths!r}: expected 1 to {MAX_LETTERS} numbers, how many words have 1, 2, 3, ... letters"
        )


def device_of(path: Path, key: str, entry: dict) -> Device:
    """Raises ConfigError for an entry that is not as those of ablations/devices.yaml."""
    if not isinstance(entry, dict) or set(entry) != {"name", "memory_gb", "peak_tflops"}:
        raise ConfigError(f"{path}: devices.{key} needs name, memory_gb and peak_tflops, and nothing else")
    peaks = entry["peak_tflops"]
    for precision in PRECISIONS:
        value = peaks.get(precision) if isinstance(peaks, dict) else None
        if not isinstance(value, (int, float)) or value <= 0:
            raise ConfigError(f"{path}: devices.{key}.peak_tflops.{precision} = {value!r} is not a positive number")
    return Device(key, str(entry["name"]), float(entry["memory_gb"]), {name: 1e12 * peaks[name] for name in PRECISIONS})

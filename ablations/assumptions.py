"""What an estimate assumes of devices and words (ablations/devices.yaml), refused where it makes no sense."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from ablations.rows import TABLES
from core.config import ConfigError

DEVICES = TABLES / "devices.yaml"
PRECISIONS = ("no", "bf16", "fp16")
NUMBERS = {"utilisation": float, "longest_word": int, "distinct_captions": float, "prediction_bytes": float}


@dataclass(frozen=True)
class Device:
    """One kind of GPU; `peak` is operations a second by precision."""

    key: str
    name: str
    memory_gb: float
    peak: dict[str, float]


@dataclass(frozen=True)
class Assumptions:
    """What the formula needs beside the model's own count, each as ablations/devices.yaml explains it."""

    device: Device
    paper_device: Device  # of Table II's hours
    utilisation: float
    longest_word: int
    distinct_captions: float
    prediction_bytes: float


def read_assumptions(device: str | None = None, path: Path = DEVICES) -> Assumptions:
    """The assumptions of a file, for one of its devices (its default when left out).

    Raises:
        ConfigError: naming file, key and value.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); see {DEVICES} for what it should say") from error
    expected = {"default", "paper", "devices", *NUMBERS}
    if not isinstance(content, dict) or set(content) != expected:
        keys = set(content) if isinstance(content, dict) else set()
        wrong = sorted(expected ^ keys)
        raise ConfigError(f"{path}: key {wrong[0]!r} is {'missing' if wrong[0] in expected else 'not known'}; see {DEVICES}")
    for key, kind in NUMBERS.items():
        value = content[key]
        if isinstance(value, bool) or not isinstance(value, (int, kind)) or value <= 0:
            raise ConfigError(f"{path}: {key} = {value!r} is no positive {'whole ' * (kind is int)}number")
    for key in ("utilisation", "distinct_captions"):
        if content[key] > 1:
            raise ConfigError(f"{path}: {key} = {content[key]}: a share lies in (0, 1]")
    devices = {key: device_of(path, key, entry) for key, entry in dict(content["devices"] or {}).items()}
    for name in (device, content["default"], content["paper"]):
        if name is not None and name not in devices:
            raise ConfigError(f"{path}: no device {name!r}; it has {', '.join(devices)}. Add it there, or give --devices FILE")
    return Assumptions(
        device=devices[device or content["default"]],
        paper_device=devices[content["paper"]],
        **{key: content[key] for key in NUMBERS},
    )


def device_of(path: Path, key: str, entry: dict) -> Device:
    """Raises ConfigError for an entry that is not as those of ablations/devices.yaml."""
    if not isinstance(entry, dict) or set(entry) != {"name", "memory_gb", "peak_tflops"}:
        raise ConfigError(f"{path}: devices.{key} needs name, memory_gb and peak_tflops, and nothing else")
    peaks = entry["peak_tflops"]
    for precision in PRECISIONS:
        value = peaks.get(precision) if isinstance(peaks, dict) else None
        if not isinstance(value, (int, float)) or value <= 0:
            raise ConfigError(f"{path}: devices.{key}.peak_tflops.{precision} = {value!r} is no positive number")
    return Device(key, str(entry["name"]), float(entry["memory_gb"]), {name: 1e12 * peaks[name] for name in PRECISIONS})

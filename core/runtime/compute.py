"""Which kind of device this process computes on, its memory, and when it runs out."""

import shutil
import subprocess

import torch

from core.errors import DeviceError
from core.runtime.devices import VISIBLE, usable


def pick_device() -> str:
    """Name of the device: "cuda", or "cpu" if there is no GPU or none may be used (CUDA_VISIBLE_DEVICES is empty).

    Raises:
        DeviceError: torch cannot use a GPU that is there; training on the CPU in its place would take weeks unnoticed.
    """
    if torch.cuda.is_available():
        torch.backends.cudnn.allow_tf32 = False  # else float32 would mean ten bits of mantissa in convolutions
        return "cuda"
    devices = usable()
    if devices:
        made_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        raise DeviceError(
            f"torch {torch.__version__}, made for {made_for}, cannot use the GPU {devices[0]} (driver {driver_version()}): "
            f"install a newer driver, or a torch made for this one; to compute on the CPU, set {VISIBLE}= (empty)"
        )
    return "cpu"


def driver_version() -> str:
    """The NVIDIA driver's version, as nvidia-smi tells it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (answer.stdout.split() or ["unknown"])[0]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def device_memory() -> str:
    """The device and its memory, for messages."""
    if not torch.cuda.is_available():
        return "this machine"
    return f"{torch.cuda.get_device_name()} ({torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB)"

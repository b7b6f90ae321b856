"""Which GPUs this machine has, and which of them this process may use.

nvidia-smi is asked, and CUDA never started: a process that has started it keeps the devices that it saw. DeviceError is
raised where the GPUs cannot be listed, or where CUDA_VISIBLE_DEVICES names one that is missing or ambiguous.
"""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import DeviceError

LIST = "CLIP4STR_GPUS"
VISIBLE = "CUDA_VISIBLE_DEVICES"
NOTHING = ("", "-1", "NoDevFiles")  # where CUDA stops reading its list; older Slurms write the last one
WITHOUT_GPU = (6, 9, 12)  # nvidia-smi's exit status: no device, no driver, no NVML
SMI_SECONDS = 120  # waking up the GPUs of a node takes long


@dataclass(frozen=True)
class Gpu:
    """One card, and the MIG instances it is split into."""

    uuid: str
    model: str = ""
    instances: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that can be handed out, as CUDA_VISIBLE_DEVICES names them."""
        return self.instances or (self.uuid,)


def present(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """All GPUs of this machine, in the order of their numbers."""
    if LIST in environment:
        return [Gpu(word.strip()) for word in environment[LIST].split(",") if word.strip()]
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        if has_cuda_driver():
            raise DeviceError(
                "there is a CUDA driver but no nvidia-smi to list its GPUs: put nvidia-smi on PATH, "
                f"or list them yourself, e.g. {LIST}=0,1 ({LIST}= for none)"
            )
        return []
    try:
        answer = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=SMI_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"nvidia-smi -L failed ({error}); list the GPUs yourself, e.g. {LIST}=0,1") from error
    if answer.returncode in WITHOUT_GPU:
        return []
    if answer.returncode:
        message = " ".join((answer.stdout + answer.stderr).split())
        raise DeviceError(
            f"nvidia-smi -L ended with status {answer.returncode}: {message}; list those that work, e.g. {LIST}=GPU-0a,GPU-7c"
        )
    return parse(answer.stdout)


def parse(listing: str) -> list[Gpu]:
    """The GPUs in what `nvidia-smi -L` prints."""
    gpus: list[Gpu] = []
    for line in listing.splitlines():
        if card := re.match(r"GPU \d+: (.*?) ?\(UUID: (GPU-[\w-]+)\)", line):
            gpus.append(Gpu(card[2], card[1]))
        elif (instance := re.match(r"\s+MIG .*\(UUID: (MIG-[\w/-]+)\)", line)) and gpus:
            gpus[-1] = Gpu(gpus[-1].uuid, gpus[-1].model, (*gpus[-1].instances, instance[1]))
    return gpus


def has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def usable(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The devices this process may use: all, or those that an outer CUDA_VISIBLE_DEVICES names; UUIDs, each once."""
    gpus = present(environment)
    outer = environment.get(VISIBLE)
    if outer is None or not gpus:
        return [device for gpu in gpus for device in gpu.devices]
    devices: list[str] = []
    for word in map(str.strip, outer.split(",")):
        if word in NOTHING:
            break
        devices += devices_called(word, gpus, outer, environment.get("CUDA_DEVICE_ORDER"))
    return list(dict.fromkeys(devices))


def devices_called(word: str, gpus: Sequence[Gpu], outer: str, order: str | None) -> tuple[str, ...]:
    """The devices that one word of CUDA_VISIBLE_DEVICES means: a number, the beginning of a UUID, a MIG instance's name.

    A card that is split into MIG instances stands for all of them. Numbers listed in CLIP4STR_GPUS=1,3 count as names.
    """
    if word.isdigit() and not any(gpu.uuid.isdigit() for gpu in gpus):
        if int(word) >= len(gpus):
            there = ", ".join(f"{number} ({gpu.uuid})" for number, gpu in enumerate(gpus))
            raise DeviceError(f"{VISIBLE}={outer}: there is no GPU {word}; there are {there}")
        if len({gpu.model for gpu in gpus}) > 1 and order != "PCI_BUS_ID":
            raise DeviceError(
                f"{VISIBLE}={outer}: this machine's GPUs differ, and CUDA numbers them by speed, nvidia-smi by place: "
                "set CUDA_DEVICE_ORDER=PCI_BUS_ID if you mean nvidia-smi's numbers, or list UUIDs (nvidia-smi -L)"
            )
        return gpus[int(word)].devices
    instances = [name for gpu in gpus for name in gpu.instances if name.startswith(word)]
    matches = [gpu.devices for gpu in gpus if gpu.uuid.startswith(word)] + [(name,) for name in instances]
    matches = [gpu.devices for gpu in gpus if gpu.uuid == word] or matches  # GPU-1 is not the beginning of GPU-12
    if len(matches) != 1:
        there = ", ".join(name for gpu in gpus for name in dict.fromkeys((gpu.uuid, *gpu.instances)))
        what = "several devices are" if matches else "no device is"
        raise DeviceError(f"{VISIBLE}={outer}: {what} called {word}; there are {there}")
    return matches[0]

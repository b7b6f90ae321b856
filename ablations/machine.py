"""The workflow's share of the machine: its GPUs, and CPU threads per job so that all jobs together use the given cores."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ablations.plan.settings import WORKFLOW_FILE
from core.errors import ConfigError, DeviceError
from core.runtime.devices import VISIBLE, usable


@dataclass(frozen=True)
class Machine:
    """How many jobs fit on the machine."""

    slots: int | None  # what `--resources gpu=` should be; None: not ours to limit
    threads: int  # CPU threads per job


def survey(settings: Mapping, cores: int, scheduled: bool, given: int | None = None) -> Machine:
    """This machine under a workflow configuration (see ablations/workflow.schema.yaml).

    Without `threads`, GPU jobs share the cores among as many as run at once; without GPUs each process has one, and
    as many jobs run at once as there are cores.

    Args:
        cores: given to Snakemake (-j, --cores).
        scheduled: a cluster's scheduler hands out devices, perhaps on other machines.
        given: `--resources gpu=`, jobs' places on GPUs; None: all there are.

    Raises:
        ConfigError: a run asks for more GPUs than there are or are given, or the machine's GPUs cannot be told.
    """
    gpus, share = settings["gpus_per_run"], settings["gpu_share"]
    if given is not None and given < gpus:
        raise ConfigError(f"--resources gpu={given} is less than gpus_per_run: {gpus}; give at least as many")
    try:
        devices = [] if scheduled else usable()
    except DeviceError as error:
        raise ConfigError(str(error)) from error
    if devices and gpus > len(devices):
        raise ConfigError(
            f"{WORKFLOW_FILE}: gpus_per_run: {gpus}, but this machine lets us use {len(devices)} GPU{'s'[: len(devices) - 1]} "
            f"({', '.join(devices)}; {VISIBLE}: {os.environ.get(VISIBLE, 'not set')}): say --config gpus_per_run={len(devices)}"
        )
    if gpus > 1 and any(device.startswith("MIG-") for device in devices):
        raise ConfigError(
            f"{WORKFLOW_FILE}: gpus_per_run: {gpus}, but a process sees one MIG instance only: say gpus_per_run=1"
        )
    slots = len(devices) * share or None
    if slots and given is not None:
        slots = min(slots, given)
    shared = max(1, cores // (slots // gpus)) if slots else gpus
    return Machine(slots, settings["threads"] or shared)

"""The number format a model computes in: its name in gin ("no" is float32), its torch type, and what the device supports."""

import torch

from core.choices import PRECISIONS
from core.errors import UserError

NATIVE = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # instructions for bfloat16, as `torch.cpu.get_capabilities` says


def autocast(device: torch.device | str, precision: str, cached: bool = True) -> torch.autocast:
    """A context in which a forward pass on `device` computes in `precision`.

    Args:
        cached: a weight is cast once until the context ends.
    """
    kind, number = torch.device(device).type, getattr(torch, PRECISIONS[precision])
    return torch.autocast(kind, number, enabled=precision != "no", cache_enabled=cached)


def name_of(precision: str) -> str:
    """The name of the torch type: "bfloat16" for "bf16"."""
    return PRECISIONS[precision]


def fit_for(device: torch.device | str, precision: str) -> str:
    """The precision in which a training configured for `precision` computes on `device`.

    A processor without bfloat16 instructions computes in float32, in which it is faster (docs/performance.md): the same
    training, with smaller rounding errors. A GPU without bfloat16 (V100, T4) computes in float16 with a scaled loss, as the
    released code does everywhere.

    Raises:
        UserError: "fp16" on a CPU, which has no scaled loss.
    """
    on_cpu = torch.device(device).type == "cpu"
    if precision == "fp16" and on_cpu:
        raise UserError("Optimisation.precision = 'fp16': only a GPU trains in float16; say 'bf16' or 'no' (float32)")
    if precision != "bf16":
        return precision
    if on_cpu:
        return "bf16" if any(map(torch.cpu.get_capabilities().get, NATIVE)) else "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"

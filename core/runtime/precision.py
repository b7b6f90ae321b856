"""What numbers a model computes with: a name of gin ("no" is float32), a type, and what a processor is made for."""

import torch

from core.choices import PRECISIONS
from core.errors import UserError

NATIVE = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # instructions for bfloat16, as `torch.cpu.get_capabilities` says


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """A context in which a forward pass on `device` computes in `precision`."""
    return torch.autocast(torch.device(device).type, getattr(torch, PRECISIONS[precision]), enabled=precision != "no")


def name_of(precision: str) -> str:
    """The type's own name: "bf16" to "bfloat16"."""
    return PRECISIONS[precision]


def fit_for(device: torch.device | str, precision: str) -> str:
    """The precision a training that asks for `precision` computes in on `device`.

    A processor without instructions for bfloat16 would take longer than in float32 (docs/performance.md), which it gets
    instead: the same training, with smaller rounding errors. A GPU without bfloat16 (V100, T4) computes in float16 with a
    scaled loss, as the released code does everywhere.

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

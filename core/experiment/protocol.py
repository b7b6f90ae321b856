"""The protocol of an evaluation: how a trained model decodes and is scored."""

import json
from dataclasses import asdict, dataclass

from core import config
from core.charset import CHARSETS
from core.choices import DECODE, NORMALISATIONS, PRECISIONS
from core.errors import UserError


@dataclass(frozen=True)
class Protocol:
    """How a trained model decodes and is scored; all rows of a table share one protocol (except for what the table varies).

    Args:
        normalisation: of test images, "clip" or "half" (as the released test loader does).
        decode: "ar" or "cloze", the first pass of Algorithm 1.
        refine_steps: T_i.
        fast_cross: Eq. (8) in place of the cross-modal branch's own first pass.
        scoring_charset_size: 36 (published) or 94.
        precision: "no" (float32), "bf16" or "fp16".
        batch: images per forward pass; changes nothing but speed and memory.
        output: which branch is scored, "visual" or "cross"; both are always kept.
    """

    normalisation: str
    decode: str
    refine_steps: int
    fast_cross: bool
    scoring_charset_size: int
    precision: str
    batch: int
    output: str

    def __post_init__(self):
        if self.output not in ("visual", "cross"):
            raise UserError(f"OUTPUT = {self.output!r}: expected visual or cross")
        if self.decode not in DECODE:
            raise UserError(f"DECODE = {self.decode!r}: expected one of {', '.join(DECODE)}")
        if self.normalisation not in NORMALISATIONS:
            raise UserError(f"NORMALISATION = {self.normalisation!r}: expected one of {', '.join(NORMALISATIONS)}")
        if not isinstance(self.refine_steps, int) or self.refine_steps < 0:
            raise UserError(f"REFINE_STEPS = {self.refine_steps!r}: expected a whole number, 0 or more")
        if self.precision not in PRECISIONS:
            raise UserError(f"Protocol.precision = {self.precision!r}: expected one of {', '.join(PRECISIONS)}")
        if self.scoring_charset_size not in CHARSETS:
            raise UserError(f"Protocol.scoring_charset_size = {self.scoring_charset_size}: expected 36 or 94")

    @property
    def encoding(self) -> tuple:
        """Protocols with the same value share one pass of the image tower."""
        return self.normalisation, self.precision, self.batch

    @property
    def settings(self) -> str:
        """Everything that can change a prediction or how it is scored, as JSON."""
        return json.dumps(
            {name: value for name, value in asdict(self).items() if name not in ("batch", "output")}, sort_keys=True
        )

    @property
    def digest(self) -> str:
        """Eight hex digits of the settings."""
        return config.digest(self.settings)


def evaluation_digest(protocol: Protocol, test_data: str) -> str:
    """Names an evaluation: eight hex digits of the protocol and of what the test data is."""
    return config.digest(protocol.digest + test_data)

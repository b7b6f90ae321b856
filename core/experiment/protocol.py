"""The protocol of an evaluation: how a trained model decodes and is scored."""

import json
from dataclasses import asdict, dataclass

from core.charset import check_charset
from core.choices import DECODE, NORMALISATIONS, PRECISIONS
from core.data.labels import Rules, rules_for
from core.errors import UserError
from core.files import text_digest
from core.moved import with_first_settings, with_new_settings


@dataclass(frozen=True)
class Protocol:
    """How a trained model decodes and is scored; all rows of a table share one protocol (except for what the table varies).

    Args:
        normalisation: of test images: "clip", "half" (the released test loader's), "imagenet" or "unit".
        decode: "ar" or "cloze", the first pass of Algorithm 1.
        refine_steps: T_i.
        fast_cross: Eq. (8) in place of the cross-modal branch's own first pass.
        scoring_charset: the characters that are scored; published are 36, digits and lower-case letters.
        precision: "no" (float32), "bf16" or "fp16".
        batch: images per forward pass; changes nothing but speed and memory.
        output: which branch is scored, "visual" or "cross"; both are always kept.
    """

    normalisation: str
    decode: str
    refine_steps: int
    fast_cross: bool
    scoring_charset: str
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
        if type(self.fast_cross) is not bool:
            raise UserError(f"FAST_CROSS = {self.fast_cross!r}: expected True or False")
        if type(self.batch) is not int or self.batch < 1:
            raise UserError(f"Protocol.batch = {self.batch!r}: expected a whole number, 1 or more")
        if type(self.refine_steps) is not int or self.refine_steps < 0:
            raise UserError(f"REFINE_STEPS = {self.refine_steps!r}: expected a whole number, 0 or more")
        if self.precision not in PRECISIONS:
            raise UserError(f"Protocol.precision = {self.precision!r}: expected one of {', '.join(PRECISIONS)}")
        check_charset("Protocol.scoring_charset", self.scoring_charset)

    @classmethod
    def from_settings(cls, settings: dict) -> "Protocol":
        """The protocol that an evaluation recorded, under whatever names.

        Raises:
            TypeError: it lacks a setting, or has one that is not known.
        """
        return cls(**with_new_settings(settings))

    @property
    def label_rules(self) -> Rules:
        """The rules that the labels of test words follow, whatever the model: `core.data.labels.rules_for` what is scored."""
        return rules_for(self.scoring_charset)

    @property
    def encoding(self) -> tuple:
        """Protocols with the same value share one pass of the image tower over the same words."""
        return self.normalisation, self.precision, self.batch, self.label_rules

    @property
    def settings(self) -> str:
        """Everything that can change a prediction or how it is scored, as JSON."""
        return json.dumps(
            {name: value for name, value in asdict(self).items() if name not in ("batch", "output")}, sort_keys=True
        )

    @property
    def digest(self) -> str:
        """Eight hex digits of the settings, by the names that they had first."""
        return text_digest(json.dumps(with_first_settings(json.loads(self.settings)), sort_keys=True))


def evaluation_digest(protocol_digest: str, test_data: str) -> str:
    """Names an evaluation: eight hex digits of the protocol and of what the test data is."""
    return text_digest(protocol_digest + test_data)

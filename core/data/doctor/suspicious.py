"""Labels that a trained model contradicts with confidence: wrong labels, or images that the model cannot read."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from core.charset import reduce_text
from core.data.doctor.duplicates import Place
from core.data.doctor.scan import Scan
from core.data.labels import compared_in, rules_for
from core.data.lmdb import WordLmdb
from core.data.loading import Words, in_order
from core.data.transforms import ToTensor
from core.runtime.compute import pick_device
from core.weights.checkpoint import load_model

BATCH = 64  # images; decides speed and memory alone


class Doubt(NamedTuple):
    """A label, what the model reads instead, and how sure it is."""

    place: Place
    label: str
    reading: str
    confidence: float


def doubts(
    model_path: Path, scans: Sequence[Scan], confident: float, advance: Callable[[int], None] = lambda images: None
) -> list[Doubt]:
    """Samples whose label is not what the model reads, surest first, compared as published (36 characters).

    A model that writes more than the 94 is compared by its own charset.

    Args:
        model_path: run directory, model.safetensors or released checkpoint.
        confident: readings below this confidence are ignored.
        advance: called with how many more images are read.
    """
    model = load_model(model_path).eval().to(pick_device())
    device = next(model.parameters()).device
    transform = ToTensor(model.towers.image_size, model.normalisation)
    contradicted = []
    rules = rules_for(model.tokenizer.charset)
    compared = compared_in(rules)
    for scan in scans:
        words = Words([WordLmdb(scan.path, rules.charset, model.max_letters)], transform)
        for batch in in_order(words, BATCH, 0):
            advance(len(batch.labels) + len(batch.skipped))
            if not batch.labels:
                continue
            texts, sure = model.tokenizer.decode(model.predict(batch.normalised(device)).output)
            for index, label, text, confidence in zip(batch.indices, batch.labels, texts, sure, strict=True):
                if confidence >= confident and reduce_text(label, compared) != reduce_text(text, compared):
                    contradicted.append(Doubt(Place(scan.name, index), label, text, round(float(confidence), 4)))
    return sorted(contradicted, key=lambda doubt: -doubt.confidence)

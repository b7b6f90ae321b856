"""Several ways of decoding one model, and what they share."""

import pandas as pd
import pytest
import torch

from core.data.benchmarks import FAMILIES
from core.data.loading import Words, open_lmdbs
from core.data.transforms import ToTensor, normalise
from core.evaluate.run import evaluate, read_images_of
from core.experiment.experiment import load
from tests.support.checkout import BASELINE, MICRO_SIZE

WAYS = [
    *([f"REFINE_STEPS = {steps}"] for steps in range(4)),
    ["DECODE = 'cloze'"],
    ["FAST_CROSS = True"],
    ["DECODE = 'cloze'", "REFINE_STEPS = 0", "OUTPUT = 'visual'"],
]


@pytest.fixture(scope="module")
def model():
    """Weights of large scale, so that different ways of decoding read different words."""
    torch.manual_seed(5)
    built = load(BASELINE, "smoke").experiment.model(load_weights=False).eval()
    for name, parameter in built.named_parameters():
        if "decoder" in name:
            parameter.data.mul_(3)
    return built


def protocols():
    return [load(BASELINE, "smoke", ["protocol.Protocol.batch = 4", *way]).protocol for way in WAYS]


def test_one_pass_of_the_image_tower_serves_all(model, world_folder):
    words = Words(open_lmdbs(world_folder / "test" / "regular", model.tokenizer.charset, 25), ToTensor(MICRO_SIZE, "clip"))
    calls, encode_image = [], model.towers.encode_image
    model.towers.encode_image = lambda images: calls.append(len(images)) or encode_image(images)
    try:
        together = read_images_of(model, words, protocols(), "regular")
        assert calls == [4, 4]
        alone = [read_images_of(model, words, [protocol], "regular")[0] for protocol in protocols()]
    finally:
        del model.towers.encode_image
    for one, several in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(one.rows, several.rows)
    steps = [found.rows.cross.tolist() for found in together[:4]]
    assert len({tuple(readings) for readings in steps}) > 1
    assert together[0].rows.cross.tolist() == together[0].rows.cross_ar.tolist()
    assert together[1].rows.cross_ar.tolist() == together[0].rows.cross.tolist()
    assert together[4].rows.visual_ar.tolist() != together[1].rows.visual_ar.tolist()
    assert together[5].rows.visual.tolist() == together[1].rows.visual.tolist()
    images = torch.stack([words[0, position].image for position in range(len(words))])
    with torch.inference_mode():
        fast = model.predict(normalise(images, "clip"), refine_steps=1, fast_cross=True)
    assert together[5].rows.cross_ar.tolist() == model.tokenizer.decode(fast.cross_ar)[0] != together[1].rows.cross_ar.tolist()
    assert together[5].rows.cross.tolist() == model.tokenizer.decode(fast.cross)[0]


def test_each_way_is_written_apart(model, world_folder, tmp_path):
    half = load("ablations/released/as_published.gin", "smoke").protocol
    wanted = {tmp_path / "a": protocols()[0], tmp_path / "b": protocols()[1], tmp_path / "c": half}
    results = evaluate(model, world_folder, wanted)
    assert [results[tmp_path / name]["decoded_together"] for name in "abc"] == [2, 2, 1]
    assert results[tmp_path / "c"]["protocol"]["normalisation"] == "half"
    for name in "abc":
        assert len(pd.read_parquet(tmp_path / name / "predictions.parquet")) == len(FAMILIES) * 8

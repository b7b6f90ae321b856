"""RandAugment: the released list and strengths, repeatable, each operation doing what its name says."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from core.errors import ConfigError
from tests.support.published import augmentation

RELEASED = {  # PARSeq's list, as the released code runs it
    *("AutoContrast", "Equalize", "Invert", "Rotate", "PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd"),
    *("ColorIncreasing", "ContrastIncreasing", "BrightnessIncreasing", "ShearX", "ShearY", "TranslateXRel"),
    *("TranslateYRel", "GaussianBlur", "PoissonNoise"),
}


def noise(width=64, height=16):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def plain(width, height, colour=(128, 128, 128)):
    return Image.new("RGB", (width, height), colour)


@pytest.fixture
def always(monkeypatch):
    """Applies one operation at magnitude 5, for sure."""
    monkeypatch.setattr("core.data.augment.PROBABILITY", 1.0)

    def apply(name, image, seed=0):
        return augmentation(f"AUGMENTATIONS = ({name!r},)", "augment.RandAugment.num_ops = 1")(image, [seed])

    return apply


def test_the_list_and_its_strengths_are_the_released_ones():
    published = augmentation()
    assert set(published.operations) == RELEASED and len(published.operations) == 16
    strengths = {"Rotate": 30, "ShearX": 0.9, "ShearY": 0.2, "TranslateXRel": 0.1, "TranslateYRel": 0.3}
    assert published.strengths == {**strengths, "GaussianBlur": 4, "PoissonNoise": 40}
    assert (published.num_ops, published.magnitude) == (3, 5)


def test_a_seed_decides_everything():
    image, augment = noise(), augmentation()
    results = [np.asarray(augment(image, [0, 0, number])) for number in range(40)]
    assert all(np.array_equal(np.asarray(augment(image, [0, 0, number])), result) for number, result in enumerate(results))
    assert sum(not np.array_equal(result, np.asarray(image)) for result in results) > 15
    assert augmentation("augment.RandAugment.num_ops = 0")(image, [0]) is image


def test_rotation_expands_the_canvas(always):
    """15 degrees at magnitude 5: no corner of a 100 x 32 crop is lost."""
    turned = always("Rotate", plain(100, 32, "red"))
    angle = np.radians(15)
    assert abs(turned.width - (100 * np.cos(angle) + 32 * np.sin(angle))) < 2
    assert abs(turned.height - (100 * np.sin(angle) + 32 * np.cos(angle))) < 2
    assert (np.asarray(turned) == (255, 0, 0)).all(-1).sum() > 0.95 * 100 * 32


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("TranslateXRel", 0.05 * 64 * 16),
        ("TranslateYRel", 0.15 * 16 * 64),
        ("ShearX", 0.45 * 16**2 / 2),  # the triangle that leaves one side
        ("ShearY", 64 * 16 - (16 / 0.1) * 16 / 2 + ((16 / 0.1 - 64) * 0.1) ** 2 / 0.1 / 2),
    ],
)
def test_shifts_and_shears_have_half_their_strength_at_magnitude_5(always, name, lost):
    """By the area that became grey."""
    grey = (np.asarray(always(name, plain(64, 16, "white"))) == 128).all(-1).sum()
    assert grey == pytest.approx(lost, rel=0.25)


@pytest.mark.parametrize(("name", "before", "after"), [("SolarizeAdd", 100, 155), ("PosterizeIncreasing", 200, 192)])
def test_operations_of_timm_have_half_their_strength_at_magnitude_5(always, name, before, after):
    """55 levels are added, of 110 at magnitude 10; two bits are kept of eight, of which magnitude 10 would keep none."""
    assert (np.asarray(always(name, plain(8, 8, (before,) * 3))) == after).all()


@pytest.mark.parametrize(("width", "radius"), [(200, 2), (100, 2), (64, 1), (20, 1)])
def test_blur_is_limited_by_the_longer_side(always, width, radius):
    """Radius 2 at magnitude 5, at most 2 % of the side but at least 1."""
    image = noise(width)
    assert np.array_equal(np.asarray(always("GaussianBlur", image)), np.asarray(image.filter(ImageFilter.GaussianBlur(radius))))


@pytest.mark.parametrize(("size", "rate"), [(200, 21), (64, 13), (5, 1)])
def test_noise_is_one_signed_count_per_pixel(always, size, rate):
    """min(20, 20 % of the side), rounded, made odd: 20 | 1, 13 | 1, 1 | 1; the mean size of a count is the rate."""
    results = [np.asarray(always("PoissonNoise", plain(size, size), seed)).astype(int) for seed in range(8)]
    added = np.concatenate([result.reshape(-1, 3) - 128 for result in results])
    assert (added == added[:, :1]).all()
    assert np.abs(added).mean() == pytest.approx(rate, rel=0.15) and abs(added.mean()) < rate / 4


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        (
            "AUGMENTATIONS = ('Invrt', 'Rotate', 'ShearX')",
            "AUGMENTATIONS: unknown operation 'Invrt'; expected names from AutoContrast",
        ),
        ("AUGMENTATIONS = ('Invert', 'Invert', 'Rotate')", "an operation is there twice"),
        ("AUGMENTATIONS = ('Invert',)", "AUGMENT_OPS = 3: expected a whole number from 0 to 1"),
        ("AUGMENT_OPS = 2.0", "AUGMENT_OPS = 2.0: expected a whole number from 0 to"),
        ("augment.RandAugment.strengths = {'Rotate': 30.0}", "no strength at magnitude 10 for ShearX; add one"),
        ("augment.RandAugment.magnitude = 11", "RandAugment.magnitude = 11: expected 0 to 10"),
    ],
)
def test_a_wrong_list_is_named(binding, message):
    with pytest.raises(ConfigError, match=message):
        augmentation(binding)


def test_three_different_operations_are_chosen_for_an_image(monkeypatch):
    """Over 50 images all 16 take part."""
    augment, chosen = augmentation(), []
    monkeypatch.setattr(type(augment), "apply", lambda self, name, rng, image: chosen.append(name) or image)
    for number in range(50):
        augment(noise(), [number])
    images = [chosen[first : first + 3] for first in range(0, 150, 3)]
    assert len(chosen) == 150 and all(len(set(names)) == 3 for names in images) and set(chosen) == RELEASED


@pytest.mark.parametrize("name", ["Rotate", "Invert"])
def test_a_chosen_operation_is_applied_to_half_of_the_images(name):
    """One of our own and one of timm's."""
    augment, image = augmentation(f"AUGMENTATIONS = ({name!r},)", "augment.RandAugment.num_ops = 1"), noise(8, 8)
    applied = [augment(image, [number]).tobytes() != image.tobytes() for number in range(400)]
    assert np.mean(applied) == pytest.approx(0.5, abs=0.08)


def test_rotations_go_either_way(always, monkeypatch):
    turned = []
    monkeypatch.setattr("core.data.augment.EXPANDING", lambda image, degrees, **_: turned.append(degrees) or image)
    for seed in range(20):
        always("Rotate", plain(8, 8), seed)
    assert set(turned) == {15, -15}

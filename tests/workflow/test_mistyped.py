"""A value of another type than its parameter's is an error that names it, whatever its class would have done with it."""

import pytest

from core.config import mistyped
from core.errors import ConfigError
from core.experiment.experiment import load
from core.files import ABLATIONS

ROW = "ablations/table_VI/image0-text6.gin"


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("BETAS = 1.5", r"BETAS = 1.5 \(Optimisation.betas\): expected tuple\[float, float\]"),
        ("AUGMENTATIONS = None", r"AUGMENTATIONS = None \(RandAugment.operations\): expected tuple\[str, ...\]"),
        ("NORMALISATION = [1]", r"NORMALISATION = \[1\] \(Experiment.normalisation\): expected str; .*Protocol.normalisation"),
        ("augment.RandAugment.magnitude = 'x'", "RandAugment.magnitude = 'x': expected float"),
        ("clip4str.CLIP4STR.freezing = 3", r"CLIP4STR.freezing = 3: expected a reference \(@...\) to a Freezing"),
        ("clip4str.CLIP4STR.towers = 3", r"CLIP4STR.towers = 3: expected a reference \(@...\) to a Module"),
        ("decoder.Decoder.mlp_ratio = '4'", "Decoder.mlp_ratio = '4': expected float"),
    ],
)
def test_the_knob_or_parameter_is_named_with_what_is_expected(binding, message):
    with pytest.raises(ConfigError, match=f"^{ROW} with .*: {message}"):
        load(ROW, "smoke", [binding])


@pytest.mark.parametrize("binding", ["DROPOUT = 0", "TRAIN_DATA = ['real']", "BETAS = [0.9, 0.99]"])
def test_whole_numbers_do_for_floats_and_lists_for_tuples(binding):
    load(ROW, "smoke", [binding])


def test_a_macro_may_bring_one_whole_number_to_an_int_and_a_float():
    load(ROW, "smoke", ["SHARED = 2", "optim.Optimisation.workers = %SHARED", "augment.RandAugment.magnitude = %SHARED"])


def test_what_no_class_looks_at_is_refused_too():
    """A text is true, whatever it says."""
    with pytest.raises(ConfigError, match=r"DECOMPOSED = 'False' \(Lora.decomposed\): expected bool"):
        load("ablations/table_VIII/lora.gin", "smoke", ["DECOMPOSED = 'False'"])


def test_every_row_at_paper_scale_is_of_the_types_it_declares():
    read = 0
    for path in sorted(ABLATIONS.glob("table_*/*.gin")):
        try:
            load(path, "paper")
        except ConfigError:  # a row of micro scale alone
            continue
        read += 1
        assert list(mistyped.mistyped()) == [], path
    assert read > 60


def test_who_sets_the_parameter_of_a_knob_is_told_the_knob():
    with pytest.raises(ConfigError, match="decoder.Decoder.dropout takes its value from DROPOUT; set DROPOUT = ... instead"):
        load(ROW, "smoke", ["Decoder.dropout = 0.3"])

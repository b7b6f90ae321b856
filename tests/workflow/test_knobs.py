"""The knob inspector, and the guard that no row of any table measures noise."""

import json

import pytest

from ablations.rows import row_files, table_names
from core.errors import ConfigError
from core.experiment import summary
from core.experiment.difference import compare
from core.experiment.experiment import load
from reports.layout import read_layout
from tests.support.checkout import BASELINE

ROWS = [(table, row.stem) for table in table_names() for row in row_files(read_layout(table))]


@pytest.mark.parametrize("scale", ["micro", "paper", "small"])
@pytest.mark.parametrize(("table", "row"), ROWS)
def test_every_row_differs_from_its_baseline(table, row, scale):
    layout = read_layout(table)
    if scale != "paper" and row in layout.not_at_micro:
        pytest.skip(f"no row at this scale: {layout.not_at_micro[row]}")
    baseline = layout.baseline or layout.order[0]
    found = compare(f"ablations/{table}/{row}.gin", f"ablations/{table}/{baseline}.gin", scale, [])
    assert found.empty == (row == baseline), found.text(row, baseline)
    assert found.bindings or row == baseline  # knobs that can change nothing are refused when a row is loaded


@pytest.mark.parametrize(
    ("binding", "fields"),
    [
        ("IMAGE_FROZEN = 0.5", {"bindings", "trained", "groups"}),
        ("TEXT_FROZEN = 0.75", {"bindings", "trained", "groups"}),
        ("PERMUTATIONS = 6", {"bindings"}),
        ("DECODER_DEPTH = 2", {"bindings", "parameters", "groups"}),
        ("ENCODER_LR = 0.01", {"bindings", "groups"}),
        ("ALGORITHM = 'NAdam'", {"bindings", "groups"}),
        ("SCRATCH_MULTIPLIER = 3.0", {"bindings", "groups"}),
        ("WEIGHT_DECAY = 0.1", {"bindings", "groups"}),
        ("TRAIN_STEPS = 10", {"bindings", "length"}),
        ("CHARSET = 'ablations/charsets/62.txt'", {"bindings", "parameters", "groups"}),
        ("CAPTION_CHARSET = 'ablations/charsets/62.txt'", {"bindings"}),
        ("SCORING_CHARSET = 'ablations/charsets/62.txt'", {"bindings", "protocol"}),
        ("REFINE_STEPS = 3", {"bindings", "protocol"}),
        ("DECODE = 'cloze'", {"bindings", "protocol"}),
        ("FAST_CROSS = True", {"bindings", "protocol"}),
        ("OUTPUT = 'visual'", {"bindings", "protocol"}),
        ("BLOCK_IMAGE_GRADIENT = False", {"bindings"}),
        ("PREDICTED_CONTEXT = True", {"bindings"}),
    ],
)
def test_a_knob_turns_what_it_should_and_nothing_else(binding, fields):
    found = compare(BASELINE, BASELINE, "micro", [binding])
    assert set(fields_of(found)) == fields


def test_unmirrored_orders_are_a_knob_of_many_orders_alone(tmp_path):
    for name, line in (("with", ""), ("without", "MIRRORED = False")):
        (tmp_path / f"{name}.gin").write_text(f"include '{BASELINE}'\nPERMUTATIONS = 6\n{line}\n")
    found = compare(str(tmp_path / "without.gin"), str(tmp_path / "with.gin"), "micro", [])
    assert found.bindings == {"MIRRORED": ("False", "True")}
    assert "only values differ" in found.text("a", "b")


@pytest.mark.parametrize(
    ("row", "binding"),
    [
        (BASELINE, "MIRRORED = False"),
        ("ablations/table_V/recipe.gin", "PREDICTED_CONTEXT = True"),
        ("ablations/table_V/recipe.gin", "BLOCK_IMAGE_GRADIENT = False"),
        ("ablations/table_V/recipe.gin", "FAST_CROSS = True"),
    ],
)
def test_a_knob_that_can_change_nothing_is_refused(row, binding):
    with pytest.raises(ConfigError, match=f"{binding} changes nothing"):
        load(row, "micro", [binding])


@pytest.mark.parametrize(
    ("row", "bindings", "message"),
    [
        (BASELINE, ["ADAPTER_RATE = 'towers'"], "ADAPTER_RATE = 'towers' changes nothing: no adapter brings weights"),
        ("ablations/table_VIII/bitfit.gin", ["ADAPTER_RATE = 'towers'"], "ADAPTER_RATE = 'towers' changes nothing"),
        (BASELINE, ["ALGORITHM = 'SGD'", "EPS = 1e-8"], "EPS = 1e-08 changes nothing with ALGORITHM = 'SGD'; leave it out"),
        (
            "ablations/table_V/recipe.gin",
            ["CAPTION_CHARSET = 'ablations/charsets/94.txt'"],
            "CAPTION_CHARSET changes nothing: the model has no cross-modal branch",
        ),
        (
            "ablations/table_VI/image12-text6.gin",
            ["BLOCK_IMAGE_GRADIENT = False"],
            "BLOCK_IMAGE_GRADIENT = False changes nothing: no weight of the image tower is trained",
        ),
        (
            "ablations/table_VI/image0-token.gin",
            ["TEXT_FROZEN = 0.5"],
            "TEXT_FROZEN = 0.5: memory.token_embeddings reads no block of the text tower; set 1.0 to keep",
        ),
    ],
)
def test_a_knob_that_others_leave_idle_is_refused(row, bindings, message):
    with pytest.raises(ConfigError, match=f"{row} with {bindings[0]}.*: {message}"):
        load(row, "micro", bindings)


@pytest.mark.parametrize(
    ("row", "bindings"), [("ablations/cyrillic/visual.gin", []), ("ablations/table_V/base-psm.gin", ["ALGORITHM = 'SGD'"])]
)
def test_included_files_may_set_knobs_that_are_idle_here_and_a_runs_own_file_sets_all(row, bindings, tmp_path):
    loaded = load(row, "micro", bindings)
    (tmp_path / "operative.gin").write_text(loaded.operative)
    assert load(tmp_path / "operative.gin", "micro").digest == loaded.digest


def fields_of(found):
    return [name for name in found.__dataclass_fields__ if getattr(found, name)]


def test_the_inspector_says_what_differs(capsys):
    summary.main(["ablations/table_VIII/lst-r4.gin", "--against", "ablations/table_VIII/fine-tune.gin", "--scale", "paper"])
    text = capsys.readouterr().out
    assert "IMAGE_FROZEN: 1.0 | None" in text and "LadderSideTuning.reduction: %LADDER_REDUCTION | -" in text
    assert "adapter.blocks: 2,669,184 | -" in text and "towers.visual.conv1.weight: frozen | trained" in text
    assert "scratch, decayed" in text and "protocol: the same" in text
    summary.main([BASELINE, "--against", BASELINE, "--set", "FAST_CROSS = True"])
    assert "fast_cross: True | False" in capsys.readouterr().out
    summary.main([BASELINE, "--against", BASELINE, "--set", "REFINE_STEPS = 2", "--json"])
    assert json.loads(capsys.readouterr().out)["protocol"] == {"refine_steps": [2, 1]}


def test_an_empty_difference_is_flagged(capsys):
    with pytest.raises(SystemExit) as stop:
        summary.main([BASELINE, "--against", "ablations/table_V/cross.gin"])
    assert stop.value.code == 1
    assert "are the same experiment: nothing that is trained, read or scored differs" in capsys.readouterr().out

"""docs/recipe.md is what the rows build, and its departures are those that are said."""

import pytest
import yaml

from ablations import recipe_page as recipe
from core.config import gin_text
from core.errors import ConfigError
from core.experiment.experiment import load
from core.experiment.parameters import summarise

TABLE_VI = {  # learnable encoder parameters, as the released code leaves them
    "image0-text0": 149_620_737,
    "image0-text3": 114_827_264,
    "image0-text6": 105_370_112,
    "image0-text9": 95_912_960,
    "image0-text12": 86_192_640,
    "image0-token": 86_192_640,
    "image3-text6": 83_954_432,
    "image6-text6": 62_690_816,
    "image9-text6": 41_427_200,
    "image12-text6": 19_177_472,
}


def test_the_page_is_what_the_rows_build():
    assert recipe.page() == recipe.PAGE.read_text(), "run python -m ablations.recipe"


def test_where_a_value_is_set():
    found = recipe.where_set("table_V/vit-l", "core.experiment.optim.Optimisation.epochs")
    assert found == "ablations/variants/large.gin, `EPOCHS`"
    assert (
        recipe.where_set("table_V/vit-l", "core.experiment.optim.Optimisation.block")
        == "ablations/base.gin, `Optimisation.block`"
    )


def section(**changed):
    line = {"what": "orders K", "ours": "core.model.clip4str.CLIP4STR.num_permutations", "published": "6", "released": 6}
    return {"title": "", "row": "table_VI/image0-text6", "lines": [{**line, **changed}]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"released": 7}, "orders K: ours 6 and released 7 differ, and no departure says why"),
        ({"departure": "for fun"}, "orders K: ours 6 and released 6 agree, so there is no departure"),
        (
            {"ours": "core.experiment.optim.Optimisation.moment"},
            "the row has no value 'core.experiment.optim.Optimisation.moment'",
        ),
    ],
)
def test_a_line_that_is_not_so_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        list(recipe.lines_of(section(**changed)))
    assert len(list(recipe.lines_of(section()))) == 1


def test_rows_of_one_table_are_all_covered():
    """A section for every kind of training that a row of the study can be."""
    rows = {entry["row"] for entry in yaml.safe_load(recipe.SOURCE.read_text())["sections"]}
    assert {"table_VI/image0-text6", "table_V/vit-l", "table_IV/clip4str-h", "table_V/base-psm", "table_VIII/lst-r4"} <= rows


@pytest.mark.parametrize(("scale", "images"), [("paper", 384), ("micro", 128)])
def test_parseqs_rows_draw_orders_as_its_gpus_do(scale, images):
    for row in ("table_V/base", "table_V/base-psm", "table_V/vit-b", "table_IX/parseq-s", "table_IX/parseq-b"):
        assert load(f"ablations/{row}.gin", scale).experiment.optimisation.block == images
    assert load("ablations/table_V/recipe.gin", scale).experiment.optimisation.block == 128


def test_token_embeddings_that_are_trained_are_not_decayed():
    """Unlike in the released code; only where nothing of the text tower is frozen."""
    found = {row: recipe.undecayed(load(f"ablations/table_VI/{row}.gin", "paper")) for row in ("image0-text0", "image0-text6")}
    assert found["image0-text6"] == "context_embedding, position_queries"
    assert found["image0-text0"] == found["image0-text6"] + ", token_embedding"


@pytest.mark.parametrize(("row", "learnable"), TABLE_VI.items())
def test_learnable_parameters_of_table_vi(row, learnable):
    assert summarise(load(f"ablations/table_VI/{row}.gin", "paper").blueprint).encoders_trainable == learnable


@pytest.mark.parametrize(("size", "frozen"), [("b", 44_250_625), ("l", 80_531_713), ("h", 126_249_985)])
def test_frozen_parameters_of_table_ii(size, frozen):
    assert summarise(load(f"ablations/table_II/clip4str-{size}.gin", "paper").blueprint).frozen == frozen


def test_the_four_rows_of_table_vii_freeze_alike():
    rows = [load(f"ablations/table_VII/{row}.gin", "paper") for row in ("scratch", "imagenet-1k", "imagenet-21k", "image-text")]
    assert {summarise(row.blueprint).frozen for row in rows} == {0}


def identity(*bindings, row="ablations/table_VI/image0-text6.gin"):
    return load(row, "paper", bindings).digest


@pytest.mark.parametrize(
    "binding",
    [
        "DEVICE_BATCH = 64",
        "optim.Optimisation.workers = 2",
        "optim.Optimisation.save_every = 7",
        "optim.Optimisation.validate_every = 7",
        "optim.Optimisation.compile = True",
        "optim.Optimisation.max_loss_ratio = 99.0",
        "optim.Optimisation.most_skipped = 3",
    ],
)
def test_how_a_machine_gets_there_is_no_part_of_a_run(binding):
    assert identity(binding) == identity()


@pytest.mark.parametrize("binding", ["BATCH = 2048", "EPS = 1e-7", "optim.Optimisation.block = 64", "DROPOUT = 0.2"])
def test_what_decides_a_result_is_part_of_a_run(binding):
    assert identity(binding) != identity()


def test_the_identity_reads_values_and_neither_imports_nor_macros():
    """A module that moved and a macro that was renamed change nothing; a value does."""
    imported = "from core.experiment import optim\n"
    text = imported + "EPS = 1e-6\noptim.Optimisation.eps = %EPS\noptim.Optimisation.averaging = @optim.Averaging()\n"
    other = (
        "import core.experiment.optim as o\n# moved\no.Optimisation.averaging = @o.Averaging()\no.Optimisation.eps = 1e-06\n"
    )
    assert gin_text.values_by_path(text) == gin_text.values_by_path(other)
    assert gin_text.values_by_path(text)["core.experiment.optim.Optimisation.averaging"] == "@core.experiment.optim.Averaging()"
    assert gin_text.values_by_path(text) != gin_text.values_by_path(text.replace("1e-6", "1e-7"))

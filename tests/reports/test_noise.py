"""Where training noise comes from: other rows, replicates of the baseline, or what a table states."""

import numpy as np
import pandas as pd
import pytest

from core.errors import ReportError
from reports import layout as layouts
from reports.build import build
from reports.claims.printed import published_noise
from reports.columns import columns_of
from reports.layout import read_layout
from reports.render.markdown import markdown
from tests.support.results import write_results, write_run

TABLES = [f"table_{numeral}" for numeral in ("III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")]
RNG = np.random.default_rng(0)
IMAGES = 60
READ = {row: (RNG.random(IMAGES) < 0.7).astype(int).tolist() for row in ("image0-text6", "image6-text6", "image12-text6")}


def change(results, **values) -> None:
    path = results / "tables" / "table_VI.runs.csv"
    runs = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("row", drop=False)
    for name, value in values.items():
        runs[name] = pd.Series(value).reindex(runs.index, fill_value="") if isinstance(value, dict) else value
    runs.to_csv(path, index=False)


def train_again(results, run: int, seeds, images: int = IMAGES) -> None:
    for seed in seeds:
        read = np.random.default_rng([run, seed]).random(images) < 0.7
        write_run(results, f"micro-{run:08d}", read.astype(int).tolist(), seed=seed)


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path, "table_VI", READ)


def built(results):
    return build("table_VI", results, results / "tables")


@pytest.mark.parametrize("table", TABLES)
def test_the_papers_noise_is_what_the_authors_second_training_shows(table):
    """Over the columns that the table averages, as far as the second training was scored on them."""
    layout = read_layout(table)
    columns = [column for column in columns_of(layout, False, []) if not column.fact and column.benchmarks != ("OCTT",)]
    averaged = [column for column in columns if not column.average] or columns
    known = published_noise(averaged)
    assert layout.noise_sd.points == pytest.approx(np.sqrt(known.variance), abs=5e-4)
    assert layout.noise_sd.df == known.df == 4 and layout.noise_sd.scale == "paper"


def test_stated_noise_counts_at_its_scale_alone(results):
    assert built(results).rows.p.isna().all()
    change(results, scale="paper")
    rows = built(results).rows.loc["image6-text6"]
    assert 0 < rows.p < 1 and rows.noise_sd == pytest.approx(0.189) and "second training" in rows.noise
    text = markdown(built(results))
    assert "Every row is assumed to vary by that much from one training to the next." in text and "p (Holm)" in text


def test_replicates_judge_rows_of_one_seed(results):
    train_again(results, 0, [1, 2, 3, 4])
    change(results, replicates={"image0-text6": "0 1 2 3 4"})
    table = built(results)
    row = table.rows.loc["image6-text6"]
    assert row.noise == "5 trainings of the baseline" and 0 < row.p <= row.p_holm and row.training_se >= 0
    assert table.cell("image0-text6", "IC15").seeds == 1  # cells keep the configured seeds
    assert "Training noise: 5 trainings of the baseline" in markdown(table)


def test_several_seeds_pool_the_noise_of_all_rows(results):
    for run in range(3):
        train_again(results, run, [1])
    change(results, seeds="0 1")
    row = built(results).rows.loc["image6-text6"]
    assert row.noise in ("the 3 trained rows of this table", "") and 0 < row.p <= 1 and not np.isnan(row.seed_sd)


def test_rows_of_one_run_have_no_noise_from_others(results):
    """Two ways of decoding one model: a second model would say how their difference varies, other rows do not."""
    change(
        results,
        scale="paper",
        run=dict.fromkeys(["image0-text6", "image6-text6"], "micro-00000000") | {"image12-text6": "micro-00000002"},
    )
    table = built(results)
    assert np.isnan(table.rows.p["image6-text6"]) and table.rows.p["image12-text6"] > 0
    assert "about these two models, not their configurations" in markdown(table) and "these two models" in markdown(table)


def test_a_seed_missing_in_one_row_is_named(results):
    train_again(results, 0, [1])
    train_again(results, 1, [1])
    change(results, seeds="0 1")
    with pytest.raises(ReportError, match="row image12-text6: .*seed1/.*predictions.parquet is missing"):
        built(results)


def test_rows_with_other_seeds_are_refused(results):
    train_again(results, 1, [1])
    change(results, seeds={"image0-text6": "0", "image6-text6": "0 1", "image12-text6": "0"})
    with pytest.raises(ReportError, match="row image6-text6 and baseline image0-text6: seeds 0 1 and 0; train and"):
        built(results)


def test_a_replicate_of_other_images_is_refused(results):
    train_again(results, 0, [1], images=IMAGES + 1)
    change(results, replicates={"image0-text6": "0 1"})
    with pytest.raises(
        ReportError, match=r"table_VI/table.yaml: row image0-text6 \(replicates\): image 61 .* not read with seed 0"
    ):
        built(results)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("{points: 0, df: 4, source: x}", "noise_sd: points is 0; expected a positive number"),
        ("{points: -0.2, df: 4, source: x}", "noise_sd: points is -0.2; expected a positive number"),
        ("{points: 0.2, df: four, source: x}", "noise_sd: df is 'four'; expected a positive number"),
        ("{points: 0.2, df: 4}", "noise_sd: key 'source' is missing"),
        ("{points: 0.2, df: 4, source: ' '}", "noise_sd: source is ' '; expected text"),
        ("{points: 0.2, df: 4, source: x, seeds: 3}", "noise_sd: unknown key 'seeds'"),
        ("0.2", "noise_sd is 0.2; expected points, df, source"),
    ],
)
def test_a_noise_that_says_too_little_is_refused(tmp_path, monkeypatch, noise, message):
    path = tmp_path / "ablations" / "own" / "table.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"title: t\nabout: a\nbaseline: b\nnoise_sd: {noise}\ncolumns:\n  - {{name: SVT, paper: SVT}}\n")
    monkeypatch.setattr(layouts, "ROOT", tmp_path)
    with pytest.raises(ReportError, match=message) as error:
        read_layout("own")
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)

"""Where training noise comes from: other rows, replicates of the baseline, or what a table states."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.errors import ReportError
from reports import layout as layouts
from reports.build import build
from reports.columns import columns_of
from reports.layout import read_layout
from reports.render.markdown import markdown
from reports.stats.second_training import published_noise, stated_noise
from tests.support.results import write_results, write_run

TABLES = [f"table_{numeral}" for numeral in ("III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")]
RNG = np.random.default_rng(0)
IMAGES = 60
FIVE = ("IC15_2077", "WOST", "HOST", "COCO", "Uber")
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


def on_photographs(folder, benchmarks=FIVE, table: str = "table_VI", scores=READ):
    """Results at paper scale on real test sets."""
    write_results(folder, table, scores, benchmarks=benchmarks)
    path = folder / f"tables/{table}.runs.csv"
    pd.read_csv(path, dtype=str, keep_default_na=False).assign(scale="paper", data="mine").to_csv(path, index=False)
    return folder


def test_stated_noise_counts_at_its_scale_alone(tmp_path):
    results = on_photographs(tmp_path)
    change(results, scale="small")
    assert built(results).rows.p.isna().all() and "noise_sd" not in markdown(built(results))
    change(results, scale="paper")
    rows = built(results).rows.loc["image6-text6"]
    assert 0 < rows.p < 1 and rows.noise_sd == pytest.approx(0.189) and rows.noise == read_layout("table_VI").noise_sd.source
    text = markdown(built(results))
    assert "Every row is assumed to vary by that much from one training to the next." in text and "p (Holm)" in text


def test_stated_noise_counts_for_the_mean_over_all_columns_alone(tmp_path):
    """Three of the five benchmarks: the second trainings on these three, not those on all five."""
    results = on_photographs(tmp_path, FIVE[:3])
    row = built(results).rows.loc["image6-text6"]
    columns = [column for column in columns_of(read_layout("table_VI"), False, []) if column.name in built(results).averaged]
    assert [column.benchmarks for column in columns] == [(name,) for name in FIVE[:3]]
    assert row.noise_sd == pytest.approx(np.sqrt(published_noise(columns).variance)) and abs(row.noise_sd - 0.189) > 0.02


def test_without_a_second_training_on_its_columns_a_part_of_the_mean_has_no_noise(tmp_path):
    rows = {"clip4str-b": READ["image0-text6"], "clip4str-l": READ["image6-text6"]}
    results = on_photographs(tmp_path, ("OCTT", "SVT"), "table_III", rows)
    table = build("table_III", results, results / "tables")
    assert table.rows.p.isna().all() and table.averaged == ("SVT", "OCTT")
    assert "noise_sd in table.yaml is of the mean over all columns; of SVT, OCTT alone no noise is known." in markdown(table)


def test_noise_that_is_stated_for_an_own_table_is_not_replaced_by_the_authors():
    """Of fewer columns than it is stated for, nobody knows it."""
    layout = replace(read_layout("table_VI"), table="mine")
    columns = columns_of(layout, False, [])
    assert stated_noise(layout, "paper", False, columns).variance == pytest.approx(0.189**2)
    assert stated_noise(layout, "paper", False, columns[:3]) is None and stated_noise(layout, "small", False, columns) is None
    here = replace(layout, noise_sd=replace(layout.noise_sd, scale="micro"))
    filled = columns_of(here, True, [])
    assert stated_noise(here, "micro", True, filled) and stated_noise(here, "micro", True, filled[:3]) is None


def test_replicates_judge_rows_of_one_seed(results):
    train_again(results, 0, [1, 2, 3, 4])
    change(results, replicates={"image0-text6": "0 1 2 3 4"})
    table = built(results)
    row = table.rows.loc["image6-text6"]
    assert row.noise == "5 trainings of the baseline" and 0 < row.p <= row.p_holm and row.training_se >= 0
    assert table.cell("image0-text6", "IC15").seeds == 1  # cells keep the configured seeds
    assert "Training noise: 5 trainings of the baseline" in markdown(table)


def test_replicates_take_no_part_beside_several_seeds(results):
    """They hold the baseline's seeds, which count in the rows' own spread, and say nothing of the other rows."""
    for run in range(3):
        train_again(results, run, [1])
    train_again(results, 0, [2, 3, 4])
    change(results, seeds="0 1")
    without = built(results).rows
    change(results, replicates={"image0-text6": "0 1 2 3 4"})
    rows = built(results).rows
    pd.testing.assert_frame_equal(rows, without)
    assert (rows.p.notna().sum(), rows.df.notna().sum()) == (2, 2) and not rows.noise.str.contains("of the baseline").any()


def test_several_seeds_pool_the_noise_of_all_rows(tmp_path):
    """60 and 70 %, 65 and 65 %, 70 and 60 %: the difference varies by 50 points squared, by the third row alone by 150."""
    right = {"image0-text6": (36, 42), "image6-text6": (39, 39), "image12-text6": (42, 36)}
    first, second = ({row: [1] * n[seed] + [0] * (IMAGES - n[seed]) for row, n in right.items()} for seed in range(2))
    results = write_results(tmp_path, "table_VI", first, seeds="0 1")
    for number, read in enumerate(second.values()):
        write_run(results, f"micro-{number:08d}", read, seed=1)
    row = built(results).rows.loc["image6-text6"]
    assert row.noise == "the 3 trained rows of this table" and 0 < row.p <= 1 and row.seed_sd == pytest.approx(50**0.5)
    assert 2 * row.noise_sd**2 == pytest.approx((50 + 150) / 2)


def test_rows_of_one_run_have_no_noise_from_others(tmp_path):
    """Two ways of decoding one model: a second model would say how their difference varies, other rows do not."""
    results = on_photographs(tmp_path)
    change(
        results,
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
    monkeypatch.setattr(layouts, "ABLATIONS", tmp_path / "ablations")
    with pytest.raises(ReportError, match=message) as error:
        read_layout("own")
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)

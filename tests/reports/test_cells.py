"""From predictions to the frames of a table, on made-up runs whose numbers are known."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from core.data.benchmarks import MICRO_AVERAGES, SUPERSETS
from core.errors import ReportError
from reports.build import build, ranks
from reports.columns import Column
from reports.figures import FIGURES
from reports.render import FORMATS
from reports.render.frames import summary_json, tidy
from reports.render.markdown import markdown
from reports.render.text import number as printed
from reports.render.text import probability, shortened
from reports.stats.compare import STATISTICS, Comparison
from reports.stats.orderings import agreement
from reports.stats.strata import Strata
from reports.tables import main
from tests.support.results import write_results, write_run

ROWS = {"image0-text6": [1, 1, 1, 0], "image6-text6": [1, 1, 0, 0], "image12-text6": [0, 0, 0, 1]}


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path, "table_VI", ROWS)


@pytest.fixture
def table(results):
    return build("table_VI", results, results / "tables")


def change(results, table: str, row: str, **values):
    path = results / "tables" / f"{table}.runs.csv"
    runs = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("row", drop=False)
    for name, value in values.items():
        runs.loc[row, name] = value
    runs.to_csv(path, index=False)


def elsewhere(tmp_path, name: str, rows: dict[str, list[int]]):
    """Results on data that is not the rendered world, whose folders stand for no benchmark."""
    results = write_results(tmp_path, name, rows)
    for row in rows:
        change(results, name, row, data="mine")
    return results


def test_cells_count_what_was_predicted(table):
    assert table.cell("image0-text6", "IC15").value == 75 and table.cell("image12-text6", "IC15").value == 25
    assert table.cell("image0-text6", "IC15").published == 90.6 and table.cell("image0-text6", "IC15").n == 4
    assert table.averaged == ("IC15",) and table.rows["mean"].tolist() == [75, 50, 25]
    assert table.agreement.tau == 1 and table.agreement.n == 3
    assert "regular" not in set(table.cells.column)  # a family of other tables' columns


def test_rows_are_compared_on_the_papers_columns(table):
    """IC15 alone was measured: 4 images; one is lost, none won. One seed and no measure of training noise: no p."""
    row = table.rows.loc["image6-text6"]
    assert (row.n, row.difference, row.pooled) == (4, -25, -25) and row.diff_low < -25 < row.diff_high
    assert np.isnan(row.p) and np.isnan(row.p_holm) and row.detectable > 0 and np.isnan(row.seeds_needed)
    assert table.rows.difference["image0-text6"] == 0 and np.isnan(table.rows.p["image0-text6"])


def test_best_and_second_best_are_ranked_as_printed(table):
    assert [table.cell(row, "IC15")["rank"] for row in ROWS] == [1, 2, 0]
    assert [table.cell(row, "HOST")["rank"] for row in ROWS] == [0, 0, 0]
    assert [table.cell(row, "IC15").published_rank for row in ROWS] == [1, 2, 0]


def test_published_values_are_ranked_among_those_of_all_methods(tmp_path):
    rows, found = ("clip4str-b-synth", "clip4str-b"), set()
    table = build("table_III", write_results(tmp_path, "table_III", dict.fromkeys(rows, [1, 0])), tmp_path / "tables")
    for column in ("IIIT5K", "SVT", "SVTP", "CUTE", "HOST", "WOST"):
        ours = [float(table.cell(row, column).published) for row in rows]
        best = sorted({*ours, *table.others[column].dropna().astype(float)}, reverse=True)[:2]
        ranks = [best.index(value) + 1 if value in best else 0 for value in ours]
        assert [table.cell(row, column).published_rank for row in rows] == ranks, column
        found |= {*ranks}
    assert found == {0, 1, 2}


def test_values_that_are_printed_alike_share_a_rank():
    """1,993 and 1,994 of 2,000, 99.65 and 99.7: a 99.7 is printed for both, but pandas rounds to 99.6 and 99.7."""
    column = Column("IC15", ("incidental",))
    values = [100 * right / 2000 for right in (1993, 1994, 1900)]
    assert [printed(value, column) for value in values] == ["99.7", "99.7", "95.0"]
    assert ranks(pd.DataFrame({"column": "IC15", "value": values}), [column], "value").tolist() == [1, 1, 2]


def test_missing_cells_say_why(table):
    cell = table.cell("image6-text6", "WOST")
    assert np.isnan(cell.value) and cell.reason == "no folder test/weakly_occluded with a data.mdb"
    assert table.cell("image6-text6", "IC15").reason == ""


def test_a_row_that_cannot_be_run_keeps_its_line_and_its_reason(results):
    change(results, "table_VI", "image12-text6", run="", reason="not run: train/real is missing")
    table = build("table_VI", results, results / "tables")
    assert table.cell("image12-text6", "IC15").reason == "not run: train/real is missing"
    assert np.isnan(table.rows.difference["image12-text6"]) and table.cell("image12-text6", "IC15").published == 61.2
    assert table.agreement is None
    text = markdown(table)
    assert "Rows without numbers: image12-text6: not run: train/real is missing." in text
    assert "orderings are not compared" in text and "Empty cells: WOST" in text


def test_markdown_shows_intervals_marks_and_both_values(table):
    text = markdown(table)
    assert "**75.0** ±" in text and "*50.0* ±" in text and "\N{MINUS SIGN}25.0 [" in text and "baseline |" in text
    assert (
        "Kendall's tau 1.00 (exact p 0.33), 95 % interval" in text
        and "never cell by cell" in text
        and "## Published" in text
        and "**90.6**" in text
    )
    assert "such a study finds differences of" in text and "Wilson's 95 % interval" in text


def test_several_seeds_keep_their_own_variance(tmp_path):
    results = write_results(tmp_path, "table_VI", ROWS, seeds="0 1")
    for number in range(3):
        write_run(results, f"micro-{number:08d}", [1, 0, 0, 0], seed=1)
    table = build("table_VI", results, results / "tables")
    cell = table.cell("image0-text6", "IC15")
    assert (cell.value, cell.seeds, cell.n) == (50, 2, 4) and cell.seed_sd == pytest.approx(50 / np.sqrt(2))
    assert table.rows.difference["image6-text6"] == -12.5 and table.rows.seed_sd["image6-text6"] == pytest.approx(
        17.68, abs=0.01
    )
    text = markdown(table)
    assert " (35.4)" in text and " (17.7)" in text and "images and trainings" in text and "deviation over seeds" in text


def test_rows_that_were_rounded_otherwise_are_named(results, table):
    """A row may come from a machine without bfloat16; a run from before precisions were recorded says nothing."""
    assert not any("different precisions" in note for note in table.notes)
    for number, precision in enumerate(("bfloat16", "float32")):
        folder = results / "runs" / f"micro-{number:08d}" / "seed0"
        (folder / "provenance.json").write_text(json.dumps({"precision": precision}))
    (note,) = (note for note in build("table_VI", results, results / "tables").notes if "different precisions" in note)
    assert note.endswith(": image0-text6 in bfloat16; image6-text6 in float32.")


def test_rows_of_other_images_are_refused(results):
    write_run(results, "micro-00000009", [1, 1, 1])
    change(results, "table_VI", "image12-text6", run="micro-00000009")
    with pytest.raises(ReportError, match="row image12-text6 and baseline image0-text6: .*same images; evaluate both again"):
        build("table_VI", results, results / "tables")


def test_rows_of_other_seeds_are_refused(results):
    write_run(results, "micro-00000002", [1, 1, 1, 0], seed=1)
    change(results, "table_VI", "image12-text6", seeds="0 1")
    with pytest.raises(ReportError, match="row image12-text6 and baseline image0-text6: seeds 0 1 and 0; train and evaluate"):
        build("table_VI", results, results / "tables")


def test_a_table_without_its_baseline_is_refused(tmp_path):
    results = write_results(tmp_path, "table_VI", {"image6-text6": [1]})
    with pytest.raises(ReportError, match="table.yaml: baseline 'image0-text6' is not a row; there are image6-text6"):
        build("table_VI", results, results / "tables")


def test_an_average_pools_images_and_is_absent_where_a_benchmark_is(tmp_path):
    """Table V: one column over nine benchmarks, of which none was evaluated, but two others; rows of our own are marked."""
    rows = {"base": [1, 1, 1, 0], "cross": [1, 0, 0, 0], "my-idea": [0, 0, 0, 0]}
    table = build("table_V", results := elsewhere(tmp_path, "table_V", rows), results / "tables")
    own = table.cell("base", "regular")
    assert (
        own.value == 75 and pd.isna(own.published) and set(tidy(table).query("column == 'regular'").published_protocol) == {""}
    )
    assert np.isnan(table.cell("base", "Avg.").value) and table.cell("base", "Avg.").published == 89.2
    assert table.averaged == ("incidental", "regular") and table.rows.n["base"] == 8
    assert table.rows.ours.tolist() == [False, False, True]
    text = markdown(table)
    assert "my-idea (ours)" in text and "Rows marked (ours) are not in the paper." in text
    assert table.others.method.tolist() == ["ABINet", "PARSeq-A"] and "Published, other methods" in text


def test_a_table_of_costs_compares_nothing(tmp_path):
    results = write_results(tmp_path, "table_II", {"clip4str-b": [1], "clip4str-l": [1]})
    table = build("table_II", results, results / "tables")
    assert table.cell("clip4str-b", "Frozen (M) at paper scale").value == pytest.approx(44.4, abs=0.01)
    assert table.cell("clip4str-b", "Hours").reason == "not measured" and table.cell("clip4str-b", "Hours").published == 12.8
    assert not table.scored and table.rows.difference.isna().all() and " 44.4 |" in markdown(table)


def test_the_tidy_file_leads_from_cell_to_run(table):
    frame = tidy(table).set_index(["row", "column"])
    line = frame.loc[("image6-text6", "IC15")]
    assert (line.run, line.benchmark, line.published_protocol) == ("micro-00000001", "incidental", "as_published")
    assert line.difference == -25


def test_the_summary_of_an_order_without_an_interval_is_json(table):
    found = replace(table, agreement=agreement([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]))
    kendall = json.loads(summary_json(found), parse_constant=pytest.fail)["kendall"]
    assert kendall["n"] == 3 and kendall["low"] is None and kendall["high"] is None


def test_every_rendering_is_written(results, capsys):
    main(["table_VI", "--results", str(results)])
    written = {path.suffix for path in (results / "tables").glob("table_VI.*")}
    assert written == {".md", ".csv", ".json", ".tex", ".html"} and "written to" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["table_V", "--results", str(results)])
    assert "error: " in capsys.readouterr().err


def test_a_new_format_is_one_line(results, monkeypatch):
    monkeypatch.setitem(FORMATS, "txt", "markdown.markdown")
    main(["table_VI", "--results", str(results)])
    assert (results / "tables/table_VI.txt").read_text() == (results / "tables/table_VI.md").read_text()


def test_every_statistic_is_in_the_csv_and_every_figure_has_a_module(table):
    assert set(STATISTICS) - {"n", "seed_sd"} < set(tidy(table).columns)
    assert all(callable(import_module(f"reports.figures.{name}").draw) for name in FIGURES)


def test_numbers_are_printed_as_the_paper_prints_them():
    assert [shortened(n) for n in (0, 262_144, 4_096_134, 86_040_576)] == ["0", "262 K", "4.1 M", "86.0 M"]
    assert [probability(p) for p in (0.0, 0.04321, 1e-160)] == ["< 1e-300", "0.043", "1e-160"]


def test_no_image_is_counted_as_two(tmp_path, monkeypatch):
    """IC15's 1,811 images are among its 2,077: a pooled comparison takes the larger set alone."""
    results = elsewhere(tmp_path, "table_V", {"cross": [1, 0, 0, 0], "base": [1, 1, 1, 0]})
    apart = build("table_V", results, results / "tables").rows.loc["base"]
    monkeypatch.setitem(SUPERSETS, "incidental", ("regular",))
    table = build("table_V", results, results / "tables")
    assert table.averaged == ("incidental", "regular") and table.rows.n["base"] == 4 and apart.n == 8
    assert table.rows.image_se["base"] > 1.1 * apart.image_se  # the second benchmark adds little that is new


def test_the_pooled_difference_counts_each_image_once():
    """Three of four images are read alike; the two of the smaller benchmark are among them."""
    places = pd.MultiIndex.from_tuples([("IC15_1811", 1), ("IC15_1811", 2), *(("IC15_2077", number) for number in range(1, 5))])
    rows = {"row": [1, 1, 1, 1, 0, 1], "baseline": [0, 0, 0, 0, 0, 1]}
    correct = {row: pd.DataFrame({0: values}, index=places.set_names(["benchmark", "index"])) for row, values in rows.items()}
    strata = Strata.of(["IC15_1811"] * 2 + ["IC15_2077"] * 4, {"IC15_1811": 0.5, "IC15_2077": 0.5}, SUPERSETS)
    compared = Comparison(correct, strata, {"row": "a", "baseline": "b"})
    assert compared.pooled("row", "baseline") == 50 and compared.once.sum() == 4


def test_a_benchmark_of_several_lmdbs_keeps_its_images_apart(tmp_path):
    results = write_results(tmp_path, "table_VI", {"image0-text6": [1, 0], "image6-text6": [0, 0]})
    for path in results.glob("runs/*/seed0/evaluations/*/predictions.parquet"):
        frame = pd.read_parquet(path)
        frame["lmdb"] = frame["index"].map({1: "a", 2: "b"})
        frame.assign(index=1).to_parquet(path)  # the first image of each of two LMDBs
    table = build("table_VI", results, results / "tables")
    assert table.cell("image0-text6", "IC15").value == 50 and table.rows.difference["image6-text6"] == -50


def test_equal_rows_are_not_ordered(tmp_path):
    results = write_results(tmp_path, "table_VI", dict.fromkeys(ROWS, [1, 0]))
    table = build("table_VI", results, results / "tables")
    assert table.agreement is None and "orderings are not compared" in markdown(table)


def test_a_difference_is_that_of_the_printed_average(tmp_path):
    """Table V's mean is over all images of its families: a family of 10 images counts twice as much as one of 5."""
    rng, sizes = np.random.default_rng(0), {name: 3 + number for number, name in enumerate(MICRO_AVERAGES["nine sets"])}
    rows = {
        row: {name: (rng.random(size) < share).astype(int).tolist() for name, size in sizes.items()}
        for row, share in (("cross", 0.8), ("base", 0.5), ("vit-b", 0.6))
    }
    table = build("table_V", results := write_results(tmp_path, "table_V", rows), results / "tables")
    means = {row: table.cell(row, "Avg.").value for row in rows}
    assert means == pytest.approx({row: 100 * np.mean(np.concatenate([*read.values()])) for row, read in rows.items()})
    expected = {row: mean - means["cross"] for row, mean in means.items()}
    assert table.rows.difference.to_dict() == pytest.approx(expected) and expected["base"] < -5

"""table.yaml: what it may say, and the averages and published rows that go with it."""

from dataclasses import replace

import pandas as pd
import pytest
import yaml

from ablations.rows import row_files, table_names
from core.data.benchmarks import AVERAGES, FAMILIES, MICRO_AVERAGES
from core.errors import ReportError
from core.experiment.experiment import load
from core.experiment.parameters import summarise
from reports.collect.published import fill_averages, images_of, published_average, read_published
from reports.columns import columns_of, mean_columns
from reports.layout import read_layout


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Writes a table.yaml (and a published CSV) and reads it as table_X of a repository of its own."""

    def write(changes: dict, published: str | None = None):
        folder = tmp_path / "ablations" / "table_X"
        folder.mkdir(parents=True, exist_ok=True)
        content = {"title": "T", "about": "a", "baseline": "b", "columns": [{"name": "SVT", "paper": "SVT"}]} | changes
        (folder / "table.yaml").write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        monkeypatch.setattr("reports.layout.ROOT", tmp_path)
        monkeypatch.setattr("reports.layout.ABLATIONS", tmp_path / "ablations")
        monkeypatch.setattr("reports.collect.published.PUBLISHED_FOLDER", tmp_path)
        if published:
            (tmp_path / "table_X.csv").write_text(published)
        return read_layout("table_X")

    return write


@pytest.mark.parametrize("table", table_names())
def test_every_published_row_is_ours_or_another_method(table):
    layout = read_layout(table)
    rows = [path.stem for path in row_files(layout)]
    published = fill_averages(layout, read_published(layout, rows))
    assert set(published.index[published.method == ""]) <= set(rows)
    assert layout.baseline in rows or layout.baseline is None


def test_published_table_vi_agrees_with_the_counts():
    """#Params counted on each row's model at paper scale; the printed ones are whole millions, rounded or cut."""
    layout = read_layout("table_VI")
    published = read_published(layout, [path.stem for path in row_files(layout)])
    assert list(published.loc["image12-text6", ["IC15", "WOST", "HOST", "COCO", "Uber"]]) == [61.2, 55.8, 40.4, 49.5, 20.6]
    counted = {}
    for row in published.index:
        model = load(f"ablations/table_VI/{row}.gin", "paper").blueprint
        counted[row] = summarise(model).encoders_trainable / 1e6
    assert len(published) == 10 and counted == pytest.approx(dict(published.params_M_counted), abs=0.05)
    unlike = {row for row, n in counted.items() if published.params_M_printed[row] not in (int(n), round(n))}
    assert unlike == {"image0-text6"}  # 104 for 105.4


def test_the_papers_average_is_its_14315_images():
    """Table III by that formula gives the averages of Tables V and IX: 89.9 and 91.9, and 91.1 where 91.2 is printed."""
    assert (images_of("nine sets"), images_of("six sets")) == (14315, 7672)
    layout = read_layout("table_III")
    published = read_published(layout, [path.stem for path in row_files(layout)])
    nine = {row: round(published_average(layout, published.loc[row], "nine sets"), 1) for row in published.index}
    assert (nine["parseq-a-real-3-3m"], nine["clip4str-l"], nine["clip4str-b"]) == (89.9, 91.9, 91.1)
    assert round(published_average(layout, published.loc["clip4str-b"], "six sets"), 1) == 96.5
    filled = fill_averages(layout, published)
    assert filled["Avg."]["clip4str-l"] == pytest.approx(91.9, abs=0.05) and pd.isna(filled["Avg."]["srn-mj-st"])


def test_columns_follow_the_data():
    layout = read_layout("table_VI")
    rendered = columns_of(layout, True, ["incidental", "regular", "mine"])
    assert [column.name for column in rendered] == ["IC15", "WOST", "HOST", "COCO", "Uber", "mine"]
    assert rendered[0].heading == "IC15 (incidental)" and not rendered[-1].published
    real = columns_of(layout, False, ["SVT"])
    assert [column.benchmarks[0] for column in real] == ["IC15_2077", "WOST", "HOST", "COCO", "Uber", "SVT"]
    assert columns_of(layout, False, ["IC15"])[-1].name == "IC15 (here)"
    average = columns_of(read_layout("table_V"), True, [])[0]
    assert set(average.benchmarks) <= set(FAMILIES) and average.heading == "Avg. (families)"
    assert len(columns_of(read_layout("table_V"), False, [])[0].benchmarks) == 9


def test_a_column_that_the_paper_lacks_is_shown_and_counts_in_nothing():
    """`micro` alone names a family that stands for no benchmark: on real data there is no such column."""
    layout = read_layout("table_VI")
    ours = replace(layout, columns=(*layout.columns, {"name": "shop signs", "micro": "regular"}))
    columns = columns_of(ours, True, ["regular", "incidental"])
    (column,) = [column for column in columns if column.name == "shop signs"]
    assert column.benchmarks == ("regular",) and not column.published and "regular" not in {c.name for c in columns}
    assert mean_columns(columns) == mean_columns(columns_of(layout, True, ["regular", "incidental"]))
    assert [column.name for column in columns_of(ours, False, [])] == [column.name for column in columns_of(layout, False, [])]


def test_a_table_of_families_alone_has_a_mean_too():
    """What a row is compared by, in the table, in claims and in `--power` alike, where the paper has none of its columns."""
    ours = replace(
        read_layout("table_VI"), columns=({"name": "signs", "micro": "regular"}, {"name": "caps", "micro": "street"})
    )
    columns = columns_of(ours, True, ["regular", "street"])
    assert [column.name for column in mean_columns(columns)] == ["signs", "caps"]
    assert [column.name for column in mean_columns(columns, {"regular"})] == ["signs"] and mean_columns(columns, set()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": [{"name": "A", "fact": "hours", "micro": "regular"}]}, "'micro' stands beside 'fact'"),
        ({"baselin": "x"}, r"table_X/table.yaml: unknown key 'baselin'; the keys are about, alone, baseline, columns, figures"),
        ({"title": None}, "key 'title' is missing"),
        ({"baseline": None}, "key 'baseline' is missing; name the row that the others are compared with"),
        ({"columns": [{"name": "SVT", "papr": "SVT"}]}, "column 'SVT': unknown key 'papr'"),
        ({"columns": [{"name": "SVT"}]}, "column 'SVT': give one of 'paper' .* it gives none"),
        ({"columns": [{"name": "A", "average": "seven sets"}]}, "average is 'seven sets'; expected one of nine sets, six sets"),
        ({"columns": [{"name": "A", "fact": "joules"}]}, "fact is 'joules'; expected one of params_M"),
        ({"columns": []}, "columns is empty; name at least one"),
        ({"columns": [{"name": "A", "paper": "B"}] * 2}, "two columns are named 'A'; give one another name"),
        ({"columns": [{"name": 15, "paper": "B"}]}, "column 15: name is 15; write it as text"),
        ({"columns": [{"name": "A", "paper": "B", "micro": "regulr"}]}, "micro names 'regulr'; the families are regular"),
        ({"title": 2024}, "title is 2024; expected text"),
        ({"order": "a"}, "order is 'a'; expected a list of rows"),
        ({"varies": ["refine_step"]}, "varies names 'refine_step'; expected some of normalisation, decode"),
        ({"figures": ["pie"]}, "figures names 'pie'; expected some of forest"),
        ({"columns": ["SVT"]}, "column 1: expected keys and values, got 'SVT'"),
        ({"columns": [{"name": "CUTE", "paper": "CUTE"}]}, "paper names 'CUTE', which is CUTE80 here; write that"),
        ({"columns": [{"name": "IC15", "paper": "IC15"}]}, "paper names 'IC15', which is IC15_1811 or IC15_2077 here"),
        ({"columns": [{"name": "A", "paper": "SVT", "micro": None}]}, "micro is None; name a benchmark or a list of them"),
        ({"columns": [{"name": "mean", "average": "nine sets"}]}, "column 'mean': tables have a column of this name already"),
        ({"order": ["a", "b", "a"]}, "order names 'a'; name each row once, as text"),
        ({"order": [7]}, "order names 7; name each row once, as text"),
        (
            {"noise_sd": {"points": 1.0, "df": 4, "source": "s", "scale": "Micro"}},
            "noise_sd: scale is 'Micro'; expected one of micro, paper, small, smoke",
        ),
    ],
)
def test_a_wrong_layout_names_file_and_key(written, changes, message):
    with pytest.raises(ReportError, match=message):
        written(changes)


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ("row,SVT\nmy-row,1\nyours,2\n", r"table_X.csv: row 'yours' is not a gin file of .*table_X, and its 'method' is empty"),
        ("row,SVT\nmy-row,1\nmy-row,2\n", "row 'my-row' stands there twice"),
        ("row,SVT\nmy-row,'90,8'\n".replace("'", '"'), "row 'my-row', column 'SVT' holds '90,8'; write a number like 90.8"),
        ("method,SVT\n,1\n", "no column 'row'; the columns are method, SVT"),
        ("row,IC13\nmy-row,1\n", "no column 'SVT', which .*table.yaml asks for"),
    ],
)
def test_a_wrong_published_file_names_file_and_row(written, published, message):
    layout = written({}, published)
    with pytest.raises(ReportError, match=message):
        read_published(layout, ["my-row"])


def test_an_average_of_families_is_over_those_that_stand_for_its_benchmarks():
    both = [entry for entry in read_layout("table_III").columns if {"paper", "micro"} <= entry.keys()]
    stand_ins = {entry["paper"]: entry["micro"] for entry in both}
    for name, benchmarks in AVERAGES.items():
        assert MICRO_AVERAGES[name] == tuple(stand_ins[benchmark] for benchmark in benchmarks if benchmark in stand_ins), name

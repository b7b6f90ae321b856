"""The whole command, at smoke scale, in a copy of the repository."""

import json
import re
import shlex
import shutil

import pandas as pd
import pytest
import yaml

from ablations import plan
from core.errors import ConfigError, ReportError
from tests.support.checkout import copied_checkout, jobs_of, snakemake

KEPT_ROWS = ("image0-text6", "image12-text6", "image0-token")
SETTINGS = {"scale": "smoke", "data": None, "seeds": [0], "results": "results", "threads": 1, "peers": []}


def ledger(title: str, table: str) -> dict:
    """One claim about two rows of a table."""
    contrast = {"rows": [f"+{table}/image12-text6", f"-{table}/image0-text6"], "kind": "less"}
    return {"title": title, "claims": [{"id": 1, "where": table, "claim": "Freezing hurts.", "contrasts": [contrast]}]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A checkout with Table VI alone, of three rows, whose world is small."""
    folder = copied_checkout(tmp_path_factory.mktemp("checkout"), ("table_VI",))
    table = folder / "ablations" / "table_VI"
    for row in table.glob("*.gin"):
        if row.stem not in KEPT_ROWS:
            row.unlink()
    layout = yaml.safe_load((table / "table.yaml").read_text())
    layout["order"] = ["image0-text6", "image12-text6"]
    layout["figures"] = ["forest", "curves"]
    (table / "table.yaml").write_text(yaml.safe_dump(layout))
    published = folder / "reports" / "published" / "table_VI.csv"
    lines = published.read_text().splitlines(keepends=True)
    published.write_text("".join(line for line in lines if line.split(",")[0] in ("row", *KEPT_ROWS)))
    (folder / "ablations" / "claims.yaml").write_text(yaml.safe_dump(ledger("What the paper claims", "table_VI")))
    return folder


def test_a_results_folder_of_any_name_is_one_word_of_every_command(copy):
    folder = "a b; touch pwned"
    done = snakemake(copy, "table_VI", "-n", "-p", "--config", "scale=smoke", f"results={folder}")
    said = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("Shell command: ")]
    roots = {words[words.index("--data") + 1] for words in said if "--data" in words}
    assert len(roots) == 1 and roots.pop().startswith(f"{folder}/data/micro-"), done.stdout + done.stderr
    assert sum("core.train" in words for words in said) == 3 and "touch" not in sum(said, [])
    shutil.rmtree(copy / folder)


def test_from_nothing_to_a_table_and_only_new_work_after(copy):
    done = snakemake(copy, "table_VI", "--config", "scale=smoke")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    counts = jobs_of(output)
    assert counts["train"] == 3 and counts["training_words"] == counts["test_words"] == 1
    assert [path.name for path in copy.glob("results/data/micro-*/train/*")] == ["real"]  # nobody here learns from another
    text = (copy / "results/tables/smoke/table_VI.md").read_text()
    assert "image0-token" in text and "orderings are not compared" in text and "105.4 M" in text and "**" in text
    cells = pd.read_csv(copy / "results/tables/smoke/table_VI.csv")
    assert len(cells) == cells.published.notna().sum() == 3 * 5 and set(cells.n) == {12}

    again = snakemake(copy, "table_VI", "--config", "scale=smoke")
    assert "Nothing to be done" in again.stdout + again.stderr

    mended = copy / "reports/stats/compare.py"
    mended.write_text(mended.read_text() + "# mended\n")
    planned = snakemake(copy, "-n", "table_VI", "--config", "scale=smoke")
    assert jobs_of(planned.stdout).keys() == {"table", "table_VI", "total"}, planned.stdout + planned.stderr

    baseline = copy / "ablations/table_VI/image0-text6.gin"
    baseline.write_text("# Another comment.\n" + baseline.read_text())
    (copy / "ablations/table_VI/my-idea.gin").write_text(baseline.read_text() + "DROPOUT = 0.3\n")
    new_row = snakemake(copy, "table_VI", "--config", "scale=smoke")
    output = new_row.stdout + new_row.stderr
    assert new_row.returncode == 0, output
    counts = jobs_of(output)
    assert (
        counts["train"] == counts["evaluate"] == counts["table"] == 1 and not {"training_words", "test_words"} & counts.keys()
    )
    assert "my-idea" in (copy / "results/tables/smoke/table_VI.md").read_text()

    for name, line in (("my-idea", "REFINE_STEPS = 3"), ("cloze", "DECODE = 'cloze'"), ("seen", "OUTPUT = 'visual'")):
        (copy / f"ablations/table_VI/{name}.gin").write_text(baseline.read_text() + line + "\n")
    refused = snakemake(copy, "table_VI", "--config", "scale=smoke")
    counts = jobs_of(refused.stdout + refused.stderr)
    assert "train" not in counts and counts["evaluate"] == 1
    assert refused.returncode != 0
    assert "list it under 'varies' if the table is about it" in (copy / "results/logs/table_VI.log").read_text()
    layout = copy / "ablations/table_VI/table.yaml"
    layout.write_text(layout.read_text() + "varies: [decode, refine_steps]\n")
    done = snakemake(copy, "table_VI", "--config", "scale=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (copy / "results/tables/smoke/table_VI.md").read_text()
    assert "cloze (ours)" in text and " visual |" in text
    metrics = [json.loads(path.read_text()) for path in (copy / "results/runs").glob("*/seed0/evaluations/*/metrics.json")]
    assert sorted(entry["decoded_together"] for entry in metrics) == [1, 1, 1, 1, 2, 2]  # the first way was not read again


def test_a_new_table_is_a_folder_that_shares_runs(copy):
    """Two rows that Table VI trained: a table of their own trains and reads nothing."""
    study = copy / "ablations" / "my_study"
    study.mkdir()
    for row in ("image0-text6", "image12-text6"):
        shutil.copy(copy / f"ablations/table_VI/{row}.gin", study / f"{row}.gin")
    layout = {
        "title": "My study",
        "about": "Mine.",
        "baseline": "image0-text6",
        "columns": [{"name": "regular", "paper": "SVT"}],
    }
    layout["columns"][0]["micro"] = "regular"
    (study / "table.yaml").write_text(yaml.safe_dump(layout))
    (study / "claims.yaml").write_text(yaml.safe_dump(ledger("What I claim", "my_study")))
    done = snakemake(copy, "my_study", "claims", "--config", "scale=smoke", "seeds=[0]")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert jobs_of(output).keys() <= {"my_study", "table", "claims", "total"}, output
    text = (copy / "results/tables/smoke/claims.md").read_text()
    assert text.index("## What the paper claims") < text.index("## What I claim") and "not published" in text
    assert text.count("one training per row cannot tell") == 4  # of each claim in its overview, and of its contrast
    text = (copy / "results/tables/smoke/my_study.md").read_text()
    assert "# My study" in text and "baseline" in text and "## Published" not in text
    shutil.rmtree(study)


def test_a_second_seed_trains_only_itself_and_the_report_gathers_everything(copy):
    for name in ("my-idea", "cloze", "seen"):
        (copy / f"ablations/table_VI/{name}.gin").unlink(missing_ok=True)
    done = snakemake(copy, "report", "--config", "scale=smoke", "seeds=[0,1]")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output + (copy / "results/logs/report.log").read_text()
    counts = jobs_of(output)
    assert counts["train"] == 3 and counts["figure"] == 2 and not {"training_words", "test_words"} & counts.keys()
    assert counts["evaluate"] in (3, 4)  # the baseline's first seed was decoded in three ways above: a list of one
    text = (copy / "results/report-smoke.md").read_text()
    parts = (
        "## What the paper claims",
        "## What was not run",
        "Table I",
        "deviation over seeds",
        "Appendix",
        "fingerprint",
        "trained in: float32",
        "curves_table_VI.png",
    )
    for part in (*parts, "3 unique runs and 2 seeds"):
        assert part in text, part
    for link in re.findall(r"\]\((.+?\.png)\)", text):
        assert (copy / "results" / link).is_file(), link
    page = (copy / "results/report-smoke.html").read_text()
    assert page.count("data:image/png") == 5 and "What was not run" in page
    assert r"\end{document}" in (copy / "results/report-smoke.tex").read_text()


def test_a_sweep_trains_what_no_row_trained_and_its_rows_are_rows(copy):
    """Three rows out of one line; two were trained before: by Table VI, and by a row of an idea written by hand."""
    study = copy / "ablations" / "my_sweep"
    study.mkdir()
    (study / "table.yaml").write_text(
        'title: "How much dropout?"\nabout: In the decoders.\nbaseline: dropout0\n'
        "columns: [{name: regular, paper: SVT, micro: regular}]\n"
        "sweep: {DROPOUT: [0, 0.3, 0.4], from: ablations/table_VI/image0-text6.gin}\n"
    )
    done = snakemake(copy, "my_sweep", "--config", "scale=smoke")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    counts = jobs_of(output)
    assert counts["train"] == counts["evaluate"] == counts["table"] == 1
    text = (copy / "results/tables/smoke/my_sweep.md").read_text()
    assert "dropout0 " in text and "dropout0.3 " in text and "dropout0.4 " in text and "baseline" in text
    shutil.rmtree(study)


def test_a_search_is_trainings_of_the_workflow(copy):
    path = copy / "ablations" / "lr_search.yaml"
    path.write_text(path.read_text().replace("[0.125, 0.25, 0.5, 1, 2, 4, 8]", "[0.5, 1]"))
    done = snakemake(copy, "lr_search", "--config", "scale=smoke")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert jobs_of(output) == {"trial": 2, "lr_search": 1, "total": 3}
    content = json.loads((copy / "results/tables/smoke/lr_search.json").read_text())
    assert [trial["value"] for trial in content["trials"]] == [0.016, 0.032] and content["chosen"] in (0.016, 0.032)
    assert {trial["steps"] for trial in content["trials"]} == {2} and {trial["n"] for trial in content["trials"]} == {8}
    again = snakemake(copy, "lr_search", "--config", "scale=smoke")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_plans_share_runs_and_change_with_the_data(tmp_path, world_folder):
    rendered = plan.make({**SETTINGS, "results": str(tmp_path)}, ["table_VI"])
    rows = rendered.tables["table_VI"]
    assert len({row.run for row in rows}) == len(rows) == 10
    assert [row.counts_paper.encoders_trainable for row in rows] == [
        *(149_620_737, 114_827_264, 105_370_112, 95_912_960, 86_192_640, 86_192_640),
        *(83_954_432, 62_690_816, 41_427_200, 19_177_472),
    ]
    real = plan.make({**SETTINGS, "data": str(world_folder)}, ["table_VI"])
    assert not {row.run for row in rows} & {row.run for row in real.tables["table_VI"]}


def test_bad_plans_say_what_to_do(tmp_path):
    with pytest.raises(ReportError, match="no table 'table_L': there are table_II, table_III, table_IV"):
        plan.make(SETTINGS, ["table_L"])
    with pytest.raises(ConfigError, match="nowhere does not exist; it should hold train/"):
        plan.make({**SETTINGS, "data": str(tmp_path / "nowhere")})
    with pytest.raises(ConfigError, match="scale: paper trains on real data: add --config data=DIR"):
        plan.make({**SETTINGS, "scale": "paper"})


def test_real_words_make_a_table(realdata, copy):
    """Training on real train/, testing on IIIT5k and SVT; absent columns are marked."""
    for name in ("my-idea", "cloze", "seen"):
        (copy / f"ablations/table_VI/{name}.gin").unlink(missing_ok=True)
    arguments = ("scale=smoke", f"data={realdata}", "results=real")
    done = snakemake(copy, "table_VI", "--config", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (tables,) = (copy / "real/tables").glob("smoke-realdata-????-????")
    text = (tables / "table_VI.md").read_text()
    assert "orderings are not compared" in text and "IIIT5k 3,000, SVT 647" in text
    with (tables / "table_VI.csv").open() as lines:
        assert "no folder test/WOST with a data.mdb (nor OST_weak)" in lines.read()

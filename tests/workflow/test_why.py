"""`--why`: what a run lacks, and what has changed since an earlier one."""

import json

import pytest

from ablations import plan as planning
from ablations.why import tables_asked, why
from core.data.sets import fingerprint
from core.errors import ConfigError
from core.files import write_json
from tests.support.plans import SETTINGS, TABLE


def test_why_says_what_is_missing(plan, run):
    row = plan.tables[TABLE][0]
    folder = plan.seed_folder(run, 0)
    said = "\n".join(why(plan, f"{TABLE}/{row.name}"))
    assert f"needed by {TABLE}/{row.name}" in said and "would be trained: its model is missing" in said
    (folder / "state" / "step-000000004").mkdir(parents=True)
    assert "interrupted; it will resume from its state at step 4" in "\n".join(why(plan, run))
    for name in ("model.safetensors", "model.json"):
        (folder / name).write_text("made")
    said = "\n".join(why(plan, run[-8:]))
    assert "would be trained" not in said
    assert f"evaluation {row.evaluation} would be made (predictions.parquet is missing)" in said
    for name in ("predictions.parquet", "metrics.json"):
        (folder / "evaluations" / row.evaluation).mkdir(parents=True, exist_ok=True)
        (folder / "evaluations" / row.evaluation / name).write_text("{}")
    assert "nothing to do" in "\n".join(why(plan, run))


def test_why_names_what_changed_since_an_earlier_run(plan, results, run):
    """The row asked for another run while its DROPOUT was another."""
    row = plan.tables[TABLE][0]
    former = results / "runs" / "smoke-00000000"
    former.mkdir()
    assert "DROPOUT = 0.0" in row.config.operative
    (former / "train.gin").write_text(row.config.operative.replace("DROPOUT = 0.0", "DROPOUT = 0.3"))
    (former / "rows.json").write_text(json.dumps({"rows": [{"table": TABLE, "row": row.name}]}))
    change = "changed: - DROPOUT = 0.3; + DROPOUT = 0.0"
    assert f"{TABLE}/{row.name} led to smoke-00000000 before; {change}" in "\n".join(why(plan, run))
    said = "\n".join(why(plan, "smoke-00000000"))
    assert "needs it under these settings: it is left alone" in said and f"leads to {run} now; {change}" in said


def test_why_compares_the_data(plan, world_folder):
    real = planning.make({**SETTINGS, "results": str(plan.results), "data": str(world_folder)}, [TABLE])
    run = real.tables[TABLE][0].run
    folder = real.seed_folder(run, 0)
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({"data": str(world_folder), "data_fingerprint": "0"}))
    (folder / "operative.gin").write_text("TRAIN_DATA = ('real',)\n")
    assert "seed 0: stale: training data changed since" in "\n".join(why(real, run))
    (folder / "provenance.json").write_text("{")
    said = "\n".join(why(real, run))
    assert "cannot be compared" in said and "delete" not in said
    now = fingerprint(world_folder / "train/real")
    (folder / "provenance.json").write_text(json.dumps({"data": str(world_folder), "data_fingerprint": now}))
    old = {"benchmarks": {"regular": {"fingerprint": "of other words"}}}  # evaluations are named by their test words
    write_json(folder / "evaluations/01234567/metrics.json", old)
    assert "delete" not in "\n".join(why(real, run))


@pytest.mark.parametrize("name", ["smoke-ffffffff", "table_VII/nothing", ""])
def test_why_of_nothing_is_an_error(plan, name):
    with pytest.raises(ConfigError, match="say a run's name, or a row as table_VI/image0-text6"):
        why(plan, name)


def test_a_row_of_a_table_that_is_made_alone_is_found_by_its_name_and_by_its_run(results):
    assert tables_asked("finetune/clip", results) == ["finetune"] and tables_asked("table_VI/image0-text6", results) == [
        "table_VI"
    ]
    write_json(results / "runs" / "smoke-11111111" / "rows.json", {"rows": [{"table": "finetune", "row": "clip"}]})
    write_json(results / "runs" / "smoke-22222222" / "rows.json", {"rows": [{"table": "table_VI", "row": "image0-text6"}]})
    assert tables_asked("11111111", results) == tables_asked("smoke-1111", results) == ["finetune"]
    assert tables_asked("smoke-22222222", results) == tables_asked("nowhere", results) == []

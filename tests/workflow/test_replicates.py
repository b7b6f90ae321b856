"""Seeds of rows, and further seeds of baselines."""

import pytest

from ablations import plan as planning
from ablations.plan.targets import usual_seeds
from ablations.plan.write import runs_frame
from core.errors import ConfigError
from tests.support.plans import SETTINGS, TABLE


def with_replicates(results, replicates, tables=("table_VII",), seeds=(0,)):
    return planning.make({**SETTINGS, "results": str(results), "seeds": list(seeds), "replicates": replicates}, list(tables))


def test_replicates_are_further_seeds_of_the_baseline_alone(plan, results):
    made = with_replicates(results, 3)
    baseline = next(row for row in made.tables[TABLE] if row.name == made.layouts[TABLE].baseline)
    more = set(made.inputs(TABLE)) - set(plan.inputs(TABLE))
    assert more == {made.seed_folder(baseline.run, seed) / "evaluations.json" for seed in (1, 2)}
    assert set(plan.inputs(TABLE)) < set(made.inputs(TABLE))
    assert made.models(TABLE) == plan.models(TABLE) and [row.run for row in made.rows] == [row.run for row in plan.rows]
    seeds = {run: [0, 1, 2] if run == baseline.run else [0] for run in made.rows_by_run}
    assert {run: made.seeds_of(run) for run in made.rows_by_run} == seeds
    listed = runs_frame(made, TABLE).set_index("row")
    assert listed.replicates[baseline.name] == "0 1 2" and set(listed.replicates.drop(baseline.name)) == {""}
    assert set(listed.seeds) == {"0"} and set(runs_frame(plan, TABLE).replicates) == {""}


def test_a_table_lists_each_count_of_its_rows(results):
    made = planning.make({**SETTINGS, "results": str(results)}, ["table_II"])
    listed = runs_frame(made, "table_II").set_index("row")
    for row in made.tables["table_II"]:
        found, here, paper = listed.loc[row.name], row.counts, row.counts_paper
        assert (found.params, found.total, found.frozen) == (here.encoders_trainable, here.total, here.frozen)
        assert (found.params_paper, found.total_paper, found.frozen_paper) == (
            *(paper.encoders_trainable, paper.total, paper.frozen),
        )
    base = listed.loc["clip4str-b"]
    assert len({base.params, base.total, base.frozen, base.params_paper, base.total_paper, base.frozen_paper}) == 6


def test_replicates_count_the_seed_of_all_rows(results):
    assert with_replicates(results, 4, seeds=[7]).replicates == [0, 1, 2, 7]


@pytest.mark.parametrize(
    ("replicates", "tables", "message"),
    [
        (5, ["table_VII"], "workflow.yaml: replicates is 5, and every row has 2 seeds, whose own spread is used: leave it out"),
        (5, ["table_II"], "workflow.yaml: replicates is 5, but .*table_II/table.yaml has no 'baseline' to train again"),
    ],
)
def test_replicates_that_change_nothing_are_refused(results, replicates, tables, message):
    with pytest.raises(ConfigError, match=message):
        with_replicates(results, replicates, tables, seeds=[0, 1] if tables == ["table_VII"] else [0])
    assert with_replicates(results, 5, ["table_II", "table_VII"]).replicates == [0, 1, 2, 3, 4]


def test_one_seed_at_micro_scale_comes_with_replicates_and_the_report_with_three_seeds(results):
    """Without noise of its own a table of single trainings could call nothing significant; stated noise is of paper scale."""
    micro = {**SETTINGS, "scale": "micro", "results": str(results), "seeds": None}
    alone = planning.make(micro, ["table_VII"])
    assert (alone.seeds, alone.replicates) == ([0], [0, 1, 2]) and planning.make(micro, ["table_II"]).replicates == []
    assert planning.make({**micro, "replicates": 1}, ["table_VII"]).replicates == []
    assert planning.make({**micro, "seeds": [0, 1]}, ["table_VII"]).replicates == []
    assert with_replicates(results, None).replicates == []
    assert usual_seeds(["report"]) == usual_seeds(["claims"]) == [0, 1, 2]
    assert usual_seeds(["table_VI"]) == usual_seeds(["results/tables/table_VI.md"]) == [0]
    for target in ("results/report.md", "results/report-small.html", "results/tables/claims.html"):
        assert usual_seeds([target]) == [0, 1, 2]

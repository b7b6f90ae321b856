"""A plan of the smallest table, as several tests of the workflow ask it."""

import pytest

from ablations import plan as planning
from ablations.plan.write import write_plan
from tests.support.plans import SETTINGS, TABLE


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def plan(results):
    made = planning.make({**SETTINGS, "results": str(results)}, [TABLE])
    write_plan(made)
    return made


@pytest.fixture
def run(plan):
    return plan.tables[TABLE][0].run

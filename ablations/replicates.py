"""Further seeds of a table's baseline, which measure the noise of training."""

from itertools import islice

from ablations.rows import TABLES
from core import config
from reports.layout import Layout


def replicate_seeds(wanted: int | str | None, seeds: list[int], layouts: dict[str, Layout]) -> list[int]:
    """The seeds of a baseline that is trained `wanted` times: those of all rows, then the smallest others, sorted.

    Raises:
        ConfigError: they would be no more than the seeds of all rows, or no table has a baseline.
    """
    if wanted is None:
        return []
    where, count = TABLES / "workflow.yaml", int(wanted)
    if count <= len(seeds):
        raise config.ConfigError(
            f"{where}: replicates is {count}, which adds nothing to the {len(seeds)} of seeds; give {len(seeds) + 1} or more, "
            "or null"
        )
    if not any(layout.baseline for layout in layouts.values()):
        path = next(iter(layouts.values())).path
        raise config.ConfigError(f"{where}: replicates is {count}, but {path} has no 'baseline' to train again; name one there")
    others = (seed for seed in range(count) if seed not in seeds)
    return sorted([*seeds, *islice(others, count - len(seeds))])

"""The rows of tables: their gin files, the data they ask for, and the run each of them is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core import config
from core.data.errors import DataError
from core.data.lmdb import fingerprint, train_roots
from core.data.micro import World
from core.experiment import Loaded, load
from core.files import ROOT
from core.protocol import evaluation_digest
from core.summary import Summary, summarise
from reports.layout import Layout

WORLD = "ablations/micro/world.gin"
TABLES = ROOT / "ablations"
RULES = {"all", "world", "train", "evaluate", "pretrain", "micro_towers", "reading_time", "table", "figure", "figures"}
RULES |= {"report", "masks", "zero_shot", "attention", "peer", "table_I", "figure_1", "figure_2", "figure_6"}
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")  # the paper's tables come first, in its order


def table_names() -> list[str]:
    """Every folder below ablations/ with a table.yaml: the paper's tables in its order, then others by name."""
    paper = {f"table_{numeral}": place for place, numeral in enumerate(NUMERALS)}
    found = [path.parent.name for path in TABLES.glob("*/table.yaml")]
    for name in sorted(RULES & set(found)):
        raise config.ConfigError(f"{TABLES / name}: {name!r} is the name of a rule of the workflow; rename the folder")
    return sorted(found, key=lambda name: (paper.get(name, len(paper)), name))


def row_files(layout: Layout) -> list[Path]:
    """A table's gin files: those its table.yaml orders, then any others by name.

    Raises:
        ConfigError: table.yaml orders a file that is not there.
    """
    found = {path.stem: path for path in sorted(layout.path.parent.glob("*.gin"))}
    missing = [name for name in layout.order if name not in found]
    if missing:
        raise config.ConfigError(f"{layout.path}: order names {missing[0]!r}, there is no {missing[0]}.gin")
    return [found[name] for name in layout.order] + [path for name, path in found.items() if name not in layout.order]


@dataclass(frozen=True)
class Row:
    """One line of a table: its gin file, the run it asks for and how that run is scored."""

    name: str
    gin: str
    run: str
    protocol: str  # how it is read and scored, as JSON
    output: str  # the branch that is scored
    evaluation: str  # digest of the protocol and the test data: the folder of its predictions
    counts: Summary  # parameters at the scale in use
    counts_paper: Summary  # the same at paper scale
    steps: int | None
    epochs: float | None
    batch: int
    flat: str  # its gin text with every value written out
    reason: str  # why it cannot be run here; empty where it can

    @property
    def layers(self) -> str:
        """Of the image and the text tower."""
        return f"{self.counts.image_layers}/{self.counts.text_layers}"


@dataclass
class Source:
    """The data of a study: what identifies training sets and test sets.

    Args:
        recipe: of the rendered world; empty for real data.
    """

    root: Path
    test: str
    recipe: str

    def train(self, names: Sequence[str]) -> str:
        """Identifies the training sets `names`.

        Raises:
            DataError: one is not there.
        """
        if self.recipe:
            return self.recipe
        key = tuple(names)
        if key not in self.known:
            self.known[key] = fingerprint(*train_roots(self.root, names))
        return self.known[key]

    def __post_init__(self):
        self.known: dict[tuple[str, ...], str] = {}


def data_source(data: str | None, scale: str, results: Path) -> Source:
    """Where the data is and what it is: fingerprints of real LMDBs, or the recipe of the rendered world.

    Raises:
        DataError: the folder holds no test set.
        ConfigError: paper scale without data.
    """
    if data:
        if not Path(data).is_dir():
            raise config.ConfigError(f"data: {data} does not exist; it should hold train/<set>/, val/ and test/<benchmark>/")
        return Source(Path(data), fingerprint(Path(data) / "test"), "")
    if scale == "paper":
        raise config.ConfigError("scale: paper trains on real data: add --config data=DIR with train/<set>/, val/ and test/")
    config.parse(WORLD)
    config.construct(World, WORLD)
    recipe = config.values_of(config.operative())
    return Source(results / "data" / f"micro-{config.digest(recipe)}", recipe, recipe)


def plan_row(path: Path, layout: Layout, scale: str, source: Source, known: dict) -> Row:
    """Read one gin file at the scale in use, and count it at paper scale too.

    Args:
        known: what was read before, by instructions: many rows of different tables ask for one model.
    """
    gin = path.relative_to(ROOT).as_posix()
    said = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    if said not in known:
        at_paper = summarise(load(gin, "paper").blueprint)
        loaded = load(gin, scale)
        known[said] = loaded, summarise(loaded.blueprint), at_paper
    loaded, counts, at_paper = known[said]
    optimisation = loaded.experiment.optimisation
    run, reason = "", layout.not_at_micro.get(path.stem, "") if scale != "paper" else ""
    if not reason:
        run, reason = run_of(loaded, scale, source)
    return Row(
        name=path.stem,
        gin=gin,
        run=run,
        protocol=loaded.protocol.settings,
        output=loaded.protocol.output,
        evaluation=evaluation_digest(loaded.protocol, source.test),
        counts=counts,
        counts_paper=at_paper,
        steps=optimisation.steps,
        epochs=optimisation.epochs,
        batch=optimisation.batch,
        flat=loaded.operative,
        reason=reason,
    )


def run_of(loaded: Loaded, scale: str, source: Source) -> tuple[str, str]:
    """The name of the run, and why there is none (one of them is empty)."""
    try:
        train_data = source.train(loaded.experiment.train_data)
    except DataError as error:
        return "", f"not run: {error}"
    return f"{scale}-{config.digest(loaded.identity + train_data)}", ""

"""How many trainings per row are needed to show a given difference, and what they cost, before anything is trained.

python -m ablations.plan --power table_VI --points 0.5 --scale paper
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ablations.page import hours
from ablations.plan.plan import Plan
from ablations.price import Job
from core.data.benchmarks import SUPERSETS
from core.errors import ConfigError
from reports.claims.results import StudyResults
from reports.columns import Column, columns_of, mean_columns
from reports.layout import Layout
from reports.stats.compare import weights_of
from reports.stats.intervals import LEVEL, POWER, image_limit, seeds_needed
from reports.stats.noise import MOST_DF, Noise, noise_of_replicates
from reports.stats.second_training import stated_noise
from reports.stats.strata import Strata


@dataclass(frozen=True)
class Question:
    """A study that is to show a difference.

    Args:
        points: true difference to the baseline, of the mean that the table prints.
        columns: that the mean is over.
        noise: the training noise of one training.
        images: that are read, each as often as a column counts it.
        discordant: assumed share of images that exactly one of two rows reads.
        image_variance: variance of a difference from images, in points squared.
        rows: number of rows that are compared with the baseline.
        least: fewest seeds with which the study knows its training noise: one beside replicates or a stated noise.
    """

    points: float
    columns: tuple[Column, ...]
    noise: Noise
    images: int
    discordant: float
    image_variance: float
    rows: int
    least: int

    def seeds(self, level: float = LEVEL) -> int | None:
        """Trainings of each row; None where the images do not show it however many there are."""
        found = seeds_needed(self.points, 2 * self.noise.variance, self.noise.df, self.image_variance, level)
        return found if found is None else max(found, self.least)


def question(plan: Plan, table: str, points: float, noise_sd: float | None, discordant: float) -> Question:
    """The `Question` of --power for a table.

    Args:
        noise_sd: standard deviation of one training, in points; None takes what was measured, or what table.yaml states. The
            study itself will not know it as well: it counts as noise that it measures elsewhere than in a row's own seeds.
        discordant: a gain is +1 or -1 on this share of images and 0 on the others.

    Raises:
        ConfigError: no baseline, no other row, no images for any column, or no training noise known.
    """
    layout = plan.layouts[table]
    if not layout.baseline:
        raise ConfigError(f"{layout.path}: no 'baseline', so there are no differences to show; name one, or another table")
    sizes = plan.source.benchmark_images()
    columns = mean_columns(columns_of(layout, plan.rendered, []), set(sizes))
    if not columns:
        raise ConfigError(f"{layout.path}: no column has images in {plan.data}; there are {', '.join(sizes)}")
    names = {name for column in columns for name in column.benchmarks}
    strata = Strata.of(
        [name for name in sorted(names) for _ in range(sizes[name])],
        weights_of(columns, {name: sizes[name] for name in names}),
        SUPERSETS,
    )
    rows = sum(row.runnable and row.name != layout.baseline for row in plan.tables[table])
    if not rows:
        raise ConfigError(f"{layout.path}: no row but the baseline can be run here, so there is no difference to show")
    noise = Noise(noise_sd**2, MOST_DF, "--noise") if noise_sd else known_noise(plan, layout, columns)
    variance = 100**2 * discordant * float(strata.factors.sum())
    least = 1 if plan.replicates or stated_noise(layout, plan.scale, plan.rendered, columns) else 2
    return Question(points, tuple(columns), noise, len(strata.codes), discordant, variance, rows, least)


def known_noise(plan: Plan, layout: Layout, columns: list[Column]) -> Noise:
    """Training noise from replicates or seeds of the baseline, or as table.yaml states it.

    Args:
        columns: that the mean is over.

    Raises:
        ConfigError: there is none.
    """
    study = StudyResults(plan.results, plan.tables_folder).table(layout.table)
    if study and layout.baseline in study.scored:
        found = study.comparison(mean_columns(study.columns, study.benchmarks(layout.baseline)))
        correct = found.correct[layout.baseline]
        noise = noise_of_replicates(correct, found.strata) if correct.shape[1] > 1 else found.noise_elsewhere
        if noise:
            return noise
    if stated := stated_noise(layout, plan.scale, plan.rendered, columns):
        return stated
    elsewhere = layout.noise_sd and layout.noise_sd.scale == plan.scale
    of = f" for the mean over {', '.join(column.name for column in columns)} alone" if elsewhere else ""
    raise ConfigError(
        f"{layout.table}: no training noise is known at {plan.scale} scale{of}; give --noise POINTS (the standard deviation of "
        f"one training), measure it with --config replicates=5, or state noise_sd in {layout.path}"
    )


def answer(
    plan: Plan, table: str, asked: Question, left: Callable[[Plan], list[Job]], price: float | None, kind: str
) -> list[str]:
    """The answer in lines: noise, images, seeds, and what they cost.

    Args:
        left: the jobs of a plan that are not done yet.
        price: price of a device's hour.
        kind: of the devices, GPU or core.
    """
    layout, sd = plan.layouts[table], asked.noise.variance**0.5
    over = ", ".join(column.heading for column in asked.columns)
    lines = [
        f"{table}, {plan.scale} scale: a difference of {asked.points:g} points to {layout.baseline}, on the mean of {over}.",
        f"Training noise: one training has a standard deviation of {sd:.2g} points ({asked.noise.source}).",
        f"Images: {asked.images:,}; a share of {asked.discordant:g} read by one row alone leaves a standard error of "
        f"{asked.image_variance**0.5:.2g} points, however many seeds.",
    ]
    for level, which in ((LEVEL, "one row"), (LEVEL / asked.rows, f"any of {asked.rows} rows, after Holm's correction")):
        seeds = asked.seeds(level)
        if seeds is None:
            least = image_limit(asked.image_variance, level)
            lines.append(f"For {which}: no number of seeds is enough; these images show {least:.2g} points and more.")
        else:
            others = [seed for seed in range(seeds) if seed not in plan.seeds]
            wanted = replace(plan, seeds=[*plan.seeds, *others][:seeds], replicates=plan.replicates if seeds == 1 else [])
            spent = cost(wanted, left(wanted), price, kind)
            lines.append(f"For {which}: {seeds} seeds per row ({100 * POWER:.0f} % power). {spent}")
    return lines


def cost(plan: Plan, jobs: list[Job], price: float | None, kind: str) -> str:
    """Trainings of a plan, and the hours of GPUs or cores for those that are still to be done."""
    trainings = len(plan.rows_by_run) * len(plan.seeds)
    done = trainings - sum(job.steps > 0 for job in jobs)
    text = f"{len(plan.rows_by_run)} runs x {len(plan.seeds)} seeds = {trainings} trainings, {done} of them done already"
    if any(job.hours is None for job in jobs):
        return f"{text}; hours: --probe or --device."
    spent = sum(job.hours for job in jobs)
    return f"{text}; {hours(spent)} {kind}-hours{f', price {spent * price:,.0f}' if price else ''}."

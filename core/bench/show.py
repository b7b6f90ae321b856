"""What was measured, for people: tables and the sentence that says how."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from core.bench.read import ReadCost
from core.bench.train import TrainCost

MEANINGS = {
    "full": "every word has as many letters as the decoder has outputs and no [E]",
    "typical": "words are as long as IIIT5K's test words",
    "right": "the first guess, both branches and refinement agree, as they mostly do of a trained model",
    "wrong": "no guess is right in any letter, the branches agree in none, and refinement changes every caption",
}
PROCESSOR = "cpu: the ratio in processor time, which other work on the machine hardly disturbs."


def in_processor_time(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def show_costs(costs: list[ReadCost]) -> None:
    """A table of `core.bench.read.read_costs` and what its figures are."""
    first, share = costs[0], min(found.cpu_share for found in costs)
    setting = f"{first.lengths} words, {first.guesses} guesses, {first.precision}, scale {first.scale}"
    title = f"Reading, {setting}, {first.device}, {first.threads} threads"
    table = Table("row", "batch", "floor", "read", "ratio", "range", "cpu", "ms/image", title=title)
    for found in costs:
        table.add_row(
            Path(found.row).stem,
            str(found.batch),
            f"{1000 * found.floor_s:.1f}",
            f"{1000 * found.median_s:.1f}",
            f"{found.ratio:.2f}",
            f"{found.ratio_low:.2f}-{found.ratio_high:.2f}",
            in_processor_time(found.cpu_ratio),
            f"{found.ms_per_image:.2f}",
        )
    Console().print(table)
    for row, way in dict.fromkeys((found.row, found.way) for found in costs):
        print(f"{row}: {way}")
    Console().print(
        "floor: the image tower's own forward pass, read: encode and decode of a batch, both in ms; ratio: of neighbours. "
        f"Medians of {first.repeats} repeats in turns. {PROCESSOR} The process had {share:.0%} of "
        "its threads' time or more. Random weights and images; the words are dictated, random letters that differ "
        f"between the images of a batch; {MEANINGS[first.lengths]}; {MEANINGS[first.guesses]}."
    )


def show_training(costs: list[TrainCost]) -> None:
    """A table of `core.bench.train.train_costs` and what its figures are."""
    first, share = costs[0], min(found.cpu_share for found in costs)
    title = f"Training, {first.lengths} words, {first.guesses} guesses, {first.precision}, scale {first.scale}, {first.device}"
    table = Table("row", "batch", "floor", "step", "ratio", "range", "cpu", "images/s", title=title)
    for found in costs:
        table.add_row(
            Path(found.row).stem,
            str(found.batch),
            *(f"{1000 * seconds:.0f}" for seconds in (found.floor_s, found.median_s)),
            f"{found.ratio:.2f}",
            f"{found.ratio_low:.2f}-{found.ratio_high:.2f}",
            in_processor_time(found.cpu_ratio),
            f"{found.images_per_s:.1f}",
        )
    Console().print(table)
    Console().print(
        f"floor: the image tower's forward and backward pass, step: losses over {first.orders} orders, gradients, clipping and "
        f"optimiser, both in ms on {first.threads} threads; ratio: of neighbours. Medians of {first.repeats} repeats in turns. "
        f"{PROCESSOR} The process had {share:.0%} of its threads' time or more."
    )


def show_readings(found: dict) -> None:
    """A table of `core.bench.trained.measure_trained` and what its figures are."""
    title = f"Reading, batch {found['batch']}, {found['precision']}, {found['device']}, {found['threads']} threads"
    floor = next(iter(found["readings"].values()))["floor_ms"]
    table = Table("row", "output", "ms an image", "range", "ratio", "cpu", title=title)
    for name, row in found["readings"].items():
        for output, cost in row["outputs"].items():
            mark = f"{output} (scored)" if output == row["output"] and len(row["outputs"]) > 1 else output
            spread = f"{cost['low_ms']:.2f}-{cost['high_ms']:.2f}"
            ratios = (f"{cost['ratio']:.2f}", in_processor_time(cost["cpu_ratio"]))
            table.add_row(name, mark, f"{cost['ms_per_image']:.2f}", spread, *ratios)
    Console().print(table)
    Console().print(
        f"{found['images']} test images, {found['mean_letters']:.1f} letters a label, read as the model reads them; median and "
        f"range of {found['repeats']} repeats in turns with the floor, the image tower's own forward pass ({floor:.2f} ms an "
        f"image). The visual output is timed without the cross-modal branch. {PROCESSOR}"
    )

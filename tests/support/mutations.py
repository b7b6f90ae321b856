"""Mutation testing: does a test fail when a line that decides numbers is changed? python -m tests.support.mutations

cosmic-ray makes the mutants; this draws a sample of them and judges each by the tests of its room. It does not use
cosmic-ray's own runner, which has one test command for all modules and starts an interpreter per mutant: here a process that
has imported torch and the other libraries forks once per mutant, which saves most of the time. Everything happens in a copy
of the checkout, so that a killed session leaves no mutant behind.
"""

import argparse
import ast
import difflib
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

import parso  # noqa: F401  before cosmic_ray, whose operators cannot be loaded otherwise
import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

LIBRARIES = (
    "accelerate gin hypothesis jsonschema lmdb matplotlib.pyplot open_clip pandas scipy.stats statsmodels.api timm torchvision"
)
STATS = (
    "test_stats test_stats_elsewhere test_noise test_holm test_orderings test_cells test_timed test_collect test_layout "
    "test_power test_simulation test_images test_partial"
)
METHOD = (
    "test_reference test_decoder test_golden test_model test_permutations test_attention test_autoregressive test_decoding "
    "test_variants test_freezing test_early_backward test_captions test_charset test_released test_backbones test_weights "
    "test_towers test_refused_towers test_pretraining_rows test_hub_weights"
)
IDENTITY = (
    "tests/method/test_protocol.py tests/data/test_world_identity.py tests/workflow/test_knobs.py "
    "tests/workflow/test_identity.py"
)


def within(folder: str, names: str) -> str:
    return " ".join(f"{folder}/{name}.py" for name in names.split())


ROOMS = {  # what is mutated: the test files that judge it, the fast ones of its room
    "core/charset.py": within(
        "tests", "method/test_charset method/test_charset_files method/test_captions data/test_index data/test_stress"
    ),
    "core/model": within("tests/method", METHOD),
    "core/data/labels.py core/data/samples.py": within("tests/data", "test_index test_data test_stress test_taken"),
    "core/data/loading.py core/data/transforms.py": within("tests/data", "test_loading test_data test_stress test_stress_files")
    + " tests/training/test_draws.py",
    "core/experiment/protocol.py core/experiment/identity.py": IDENTITY,
    "core/experiment/optim.py": within("tests", "training/test_optimisation training/test_optim_choices method/test_recipe"),
    "core/data/augment.py core/data/images.py": within("tests/data", "test_augment test_image_kinds test_stress"),
    "core/train": within(
        "tests",
        "training/test_steps training/test_draws training/test_validation training/test_interruptions training/test_bad_steps "
        "training/test_states training/test_training method/test_orders runtime/test_machine_limits",
    ),
    "core/evaluate": within(
        "tests",
        "method/test_evaluate method/test_previous_readings method/test_decoding training/test_validation "
        "workflow/test_evaluations_list",
    ),
    "core/pretrain": within("tests", "training/test_pretraining training/test_made_weights data/test_pictures"),
    "adapters": within("tests/method", "test_adapters test_adapters_by_hand"),
    "reports/claims": within("tests/reports", "test_claims test_claims_page test_verdict test_partial"),
    "ablations/price.py": "tests/workflow/test_price.py",
    "reports/stats reports/build.py": within("tests/reports", STATS),
    "reports/collect": within("tests/reports", f"{STATS} test_peer_columns test_flips"),
}
SLOW = (  # seconds each, and others of their files see the same
    "tests/data/test_data.py::test_workers_read_what_the_parent_has_open",
    "tests/method/test_early_backward.py::test_processes_and_passes_still_add_up_to_one_step",
    "tests/training/test_draws.py::test_a_seed_decides_both",
    "tests/training/test_optim_choices.py::test_compiled_blocks_train_the_same",
)
TIMES = ".times"  # of the test files of the last run, in its checkout
MEMORY = 16 << 30  # bytes of address space per mutant: a wrong size must not fill the machine


@dataclass(frozen=True)
class Mutant:
    path: str
    operator: str
    occurrence: int
    line: int

    def code(self, source: str) -> str:
        return mutate_code(source, plugins.get_operator(self.operator)(), self.occurrence)


def mutants_of(path: Path) -> Iterator[tuple[tuple, Mutant]]:
    """Every mutant of a module, each with its site: the place in the file and the kind of change."""
    source = path.read_text()
    tree, untouched = get_ast(source), deciding_nothing(source)
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        if operator.arguments():  # operators that need to be told names
            continue
        places = [place for node in ast_nodes(tree) for place in operator().mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= start < last for first, last in untouched):
                kind = re.match("core/(Replace[A-Za-z]+Operator|[A-Za-z]+)", name)[1]
                yield (str(path), start, kind), Mutant(str(path), name, occurrence, start[0])


def deciding_nothing(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where the types stand, and the `strict` of zip, which only tells of a bug elsewhere."""
    tree = ast.parse(source)
    nodes = [getattr(node, field, None) for node in ast.walk(tree) for field in ("annotation", "returns")]
    nodes += [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
    return [((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)) for node in nodes if node]


def sample(paths: Sequence[str], seed: int) -> list[Mutant]:
    """One mutant per site, in random order: an operator with ten replacements weighs as much as one with two."""
    sites: dict[tuple, list[Mutant]] = {}
    for word in paths:
        for path in [Path(word)] if word.endswith(".py") else sorted(Path(word).glob("*.py")):
            for site, mutant in mutants_of(path):
                sites.setdefault(site, []).append(mutant)
    rng = random.Random(seed)
    chosen = [rng.choice(sites[site]) for site in sorted(sites)]
    rng.shuffle(chosen)
    return chosen


def judges(path: str, seconds: Mapping[str, float] = MappingProxyType({})) -> list[str]:
    """The test files of a module's room: those that name the module first, and of these the fastest.

    Args:
        seconds: what each file takes, where it is known.

    A module without a room ends the session.
    """
    rooms = (tests for paths, tests in ROOMS.items() if any(path.startswith(word) for word in paths.split()))
    if not (tests := next(rooms, "")):
        sys.exit(
            f"{path}: no tests judge this module; add it to ROOMS in {Path(__file__).name}, or name one of {' '.join(ROOMS)}"
        )
    module = path.removesuffix(".py").replace("/", ".")
    name = re.compile(rf"{re.escape(module)}\b")
    return sorted(tests.split(), key=lambda file: (not name.search(Path(file).read_text()), seconds.get(file, 0.0)))


class Witness:
    """Writes the name of the first test that fails, and at the end the seconds of every test file."""

    def __init__(self, failed: Path, times: Path):
        self.failed, self.times = failed, times
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report):
        file = report.nodeid.partition("::")[0]
        self.seconds[file] = self.seconds.get(file, 0) + report.duration
        if report.failed and not self.failed.read_text():
            self.failed.write_text(report.nodeid)

    def pytest_sessionfinish(self):
        self.times.write_text(json.dumps(self.seconds))


def run_tests(checkout: Path, tests: Sequence[str], limit: float) -> str:
    """What the tests say of a checkout: "" if they pass, else the first that fails, "timeout", or "import"."""
    failed = checkout / ".failed"
    failed.write_text("")
    pid = os.fork()
    if not pid:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.chdir(checkout)
        os.environ["TMPDIR"] = tempfile.tempdir = str(checkout.parent / "tmp")
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.path[0] = str(checkout)
        with (checkout.parent / "output").open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os._exit(
            pytest.main(
                ["-x", "-p", "no:cacheprovider", *(f"--deselect={name}" for name in SLOW), *tests],
                [Witness(failed, checkout / TIMES)],
            )
        )
    end = time.monotonic() + limit
    while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL) if not ended[0] else None
    if not ended[0]:
        os.waitpid(pid, 0)
        return "timeout"
    return "" if not ended[1] else failed.read_text() or "import"


def change(mutant: Mutant, source: str, changed: str) -> str:
    """The lines as they were and as they are."""
    lines = [line for line in difflib.ndiff(source.splitlines(), changed.splitlines()) if line[:2] in ("- ", "+ ")]
    was, now = ("; ".join(line[2:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return f"{mutant.path}:{mutant.line}: `{was}` -> `{now}`"


def session(options: argparse.Namespace, checkout: Path) -> None:
    for library in LIBRARIES.split():
        importlib.import_module(library)
    paths = options.paths or [word for words in ROOMS for word in words.split()]
    if not (everything := sample(paths, options.seed)):
        sys.exit(f"{' '.join(paths)}: no module here has a line to change; name modules or folders of {' '.join(ROOMS)}")
    for path in {mutant.path for mutant in everything}:  # now, not after an hour
        judges(path)
    numbers = options.numbers or range(options.skip + 1, options.skip + options.sample + 1)
    print(f"{len(everything):,} sites, seed {options.seed}, {len(numbers)} mutants", flush=True)
    ends, killed, judged, seconds = time.monotonic() + options.minutes * 60, 0, 0, {}
    for number, mutant in ((number, everything[number - 1]) for number in numbers if number <= len(everything)):
        if time.monotonic() > ends:
            break
        tests, file = judges(mutant.path), checkout / mutant.path
        if (room := tuple(sorted(tests))) not in seconds:  # the tests have to pass before they can tell anything
            if failed := "" if options.trust else run_tests(checkout, tests, 1800):
                sys.exit(f"{failed}: fails without a mutant; output:\n{(checkout.parent / 'output').read_text()[-2000:]}")
            seconds[room] = json.loads((checkout / TIMES).read_text()) if not options.trust else {}
        tests = judges(mutant.path, seconds[room])
        source, begun = file.read_text(), time.monotonic()
        changed = mutant.code(source)
        file.write_text(changed)
        os.utime(file, (number, number))  # a bytecode file of the same second would hide the change
        verdict = run_tests(checkout, tests, options.limit)
        file.write_text(source)
        os.utime(file, (0, 0))
        killed, judged = killed + bool(verdict), judged + 1
        outcome = f"killed by {verdict}" if verdict else "SURVIVED"
        print(f"{number:4} {time.monotonic() - begun:5.1f} s  {change(mutant, source, changed)}  {outcome}", flush=True)
    print(f"{killed} of {judged} killed ({killed / max(1, judged):.1%})")


def main() -> None:
    parser = argparse.ArgumentParser(description="Change one place at a time and see whether a test fails.")
    parser.add_argument("paths", nargs="*", help="modules or folders of ROOMS (default: all)")
    parser.add_argument("--sample", type=int, default=200, help="mutants (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument(
        "--skip", type=int, default=0, help="mutants of the sample to leave out, as a session before did (default: 0)"
    )
    parser.add_argument("--numbers", type=int, nargs="+", help="of the sample, only these: the survivors of a session before")
    parser.add_argument("--minutes", type=float, default=120, help="time after which no mutant is begun (default: 120)")
    parser.add_argument(
        "--limit", type=float, default=120, help="seconds per mutant, after which it counts as killed (default: 120)"
    )
    parser.add_argument("--trust", action="store_true", help="do not run the tests once without a mutant")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # some tests read as another user
        checkout = Path(folder) / "checkout"
        (Path(folder) / "tmp").mkdir()
        for name in subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, checkout / name)
        session(options, checkout)


if __name__ == "__main__":
    main()

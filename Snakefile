# What can be asked for. The rules that make it are in ablations/rules/, one file per kind of work; which rows, runs and folders
# there are is worked out (and tested) in ablations/plan/.
# snakemake -j2 table_VI        the paper's Table VI at micro scale, on the embedded data set
# snakemake -n table_VI         what that would do
# snakemake -j2 claims          the ledger of the paper's claims: supported, contradicted, undecided
# snakemake -j2 report          every table and figure, and one document of them all
import os
import sys
from pathlib import Path
from shlex import quote

from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from ablations import claimed, lr_search, machine, place, plan as planning
from ablations.plan.write import write_plan
from ablations.plan.plan import TOWERS
from ablations.plan.settings import PEERS, checked
from ablations.progress import fewer_seeds
from core.errors import user_errors
from reports.render import FORMATS


configfile: workflow.source_path("ablations/workflow.yaml")


GPUS_GIVEN = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else None  # --resources gpu=N
CORES = workflow.global_resources["_cores"].value or 1  # not `workflow.cores`, which refuses --unlock or --summary without -j
CLUSTER = workflow.nodes and (GPUS_GIVEN is not None or not workflow.output_settings.dryrun)  # its scheduler hands out devices
# waits for free devices
LEASE = "python -m core.runtime.lease --gpus {resources.gpu} --share {resources.gpu_share} -- python -m"
# the same text for one GPU and many: nothing is made again when their number changes
TOGETHER = f"{LEASE} core.runtime.launch --processes {{resources.gpu}} -- -m"
# before the checkout's files: nothing in the checkout itself, where a file's name must stay or all that reads it is made again
CHECKOUT = place.checkout_prefix(workflow.basedir)
os.environ.update(place.imports_from(workflow.basedir))
MAIN = workflow.is_main_process  # else that of a job, whose workflow has written what there is to write
with user_errors():
    config.update(checked(config))
    MACHINE = machine.survey(config, CORES, bool(CLUSTER or not MAIN), GPUS_GIVEN if MAIN else None)
    if MACHINE.slots and GPUS_GIVEN is None:
        workflow.register_resource("gpu", MACHINE.slots)
    if config["tracking"] != "auto":  # through the environment: no rule's text changes, so nothing is made again
        os.environ.update(WANDB_MODE={"off": "disabled", False: "disabled"}.get(config["tracking"], config["tracking"]))
    if MAIN and (problem := place.not_writable(config["results"])):
        sys.exit(problem)
    LOOKS = not MAIN or workflow.output_settings.dryrun or not place.runs_jobs()
    # before anything is written: a workflow that must not start changes nothing of the one that is at work
    BUSY = place.others(config["results"]) if LOOKS else place.hold(config["results"])
    if MAIN and LOOKS and BUSY:
        print(BUSY, file=sys.stderr)
    ASKED = place.targets(MAIN)
    config["seeds"] = config["seeds"] or planning.usual_seeds(ASKED)
    PLAN = planning.make(config, targets=ASKED, shared=bool(BUSY))
    if PLAN.rendered and (problem := place.world_mismatch(PLAN.data.name, MAIN)):
        sys.exit(problem)
    if MAIN:
        for note in (*PLAN.outdated_towers(), *(() if BUSY else fewer_seeds(PLAN, ASKED))):
            print(note, file=sys.stderr)
        if problem := place.towers_not_writable([name for run in PLAN.rows_by_run for name in PLAN.towers_of(run, CHECKOUT)]):
            sys.exit(problem)
    write_plan(PLAN, ASKED, shared=LOOKS or bool(BUSY))
SEARCH = lr_search.Search(PLAN, shared=bool(BUSY))
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH; ")  # jobs run under this Python
TABLES, FIGURES, REPORT = PLAN.tables_folder, PLAN.figures_folder, PLAN.report_stem
RENDERINGS = list(FORMATS)
DRAWN = [*PLAN.figures, "figure_1", "figure_2"]
CODE = claimed.reports_digest()  # tables, claims and figures are made again when it changes, and nothing is trained
LEDGERS = [path.as_posix() for path in claimed.ledger_paths()]


report: "reports/captions/workflow.rst"


TESTS = PLAN.data_inputs.test_inputs
if PLAN.rendered:
    ROOT = quote(str(PLAN.data))
else:  # through the environment: the folder may move, or be spelled otherwise, and nothing is made again
    os.environ.update(CLIP4STR_DATA=str(PLAN.data.absolute()))
    ROOT = '"$CLIP4STR_DATA"'
TESTED = quote(str(PLAN.test_root)) if PLAN.source.photos else ROOT  # with photographs, their test sets beside rendered ones
RUN = f"{PLAN.results}/runs/{{run}}/seed{{seed}}"


wildcard_constraints:
    run=r"[a-z]+-[0-9a-f]{8}",
    seed=r"\d+",
    set="real|more|synth",
    towers="|".join(TOWERS),
    world="small",  # whose towers are made when they are missing
    table="|".join(PLAN.tables),
    figure="[a-z]+",
    peer="|".join(PEERS),


onstart:
    if BUSY:
        sys.exit(BUSY)


include: "ablations/rules/data.smk"
include: "ablations/rules/train.smk"
include: "ablations/rules/evaluate.smk"
include: "ablations/rules/tables.smk"
include: "ablations/rules/figures.smk"


rule all:
    default_target: True
    input:
        expand(f"{TABLES}/{{table}}.md", table=PLAN.tables),


rule figures:
    input:
        expand(f"{FIGURES}/{{drawn}}.png", drawn=DRAWN),


# snakemake table_VI; rules that are asked for by their own names: claims, report, lr_search, doctor, micro_towers, small_towers, world
for name, made in (
    *((table, f"{TABLES}/{table}.md") for table in ("table_I", *PLAN.tables)),
    *((figure, f"{FIGURES}/{figure}.png") for figure in ("figure_1", "figure_2")),
    ("figure_6", f"{FIGURES}/qualitative_table_III.png"),
):

    rule:
        name:
            name
        input:
            made,
        message:
            f"{name}: see {made}"

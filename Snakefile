# Rules only: what is made of what. Which rows, runs and folders there are is worked out (and tested) in ablations/plan/.
# snakemake -j2 table_VI        the paper's Table VI at micro scale, on the embedded data set
# snakemake -n table_VI         what that would do
# snakemake -j2 claims          the ledger of the paper's claims: supported, contradicted, undecided
# snakemake -j2 report          every table and figure, and one document of them all
import os
import sys
from pathlib import Path
from shlex import quote

from snakemake.utils import min_version, validate

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from ablations import claimed, machine, plan as planning


configfile: workflow.source_path("ablations/workflow.yaml")


validate(config, "ablations/workflow.schema.yaml")
GPUS_GIVEN = "gpu" in workflow.global_resources  # --resources gpu=N, or a profile's
CLUSTER = workflow.nodes and (GPUS_GIVEN or not workflow.output_settings.dryrun)  # its scheduler hands out devices
MACHINE = machine.survey(config, workflow.cores, bool(CLUSTER or not workflow.is_main_process))
if CLUSTER and GPUS_GIVEN and (most := workflow.global_resources["gpu"].value) < config["gpus_per_run"]:
    sys.exit(f"--resources gpu={most} is less than gpus_per_run: {config['gpus_per_run']}; give at least as many")
if MACHINE.slots and not GPUS_GIVEN:
    workflow.register_resource("gpu", MACHINE.slots)
LEASE = "python -m core.runtime.lease --gpus {resources.gpu} --share {resources.gpu_share} -- python -m"  # waits for free devices
TOGETHER = f"{LEASE} core.runtime.launch --processes {{resources.gpu}} -- -m"  # the same text for one GPU and many: nothing is remade
if config["tracking"] != "auto":  # through the environment: no rule's text changes, so nothing is made again
    os.environ.update(WANDB_MODE={"off": "disabled", False: "disabled"}.get(config["tracking"], config["tracking"]))
PLAN = planning.make(config)
PLAN.write()
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH; ")  # jobs run under this Python
TABLES, FIGURES, REPORT = PLAN.tables_folder, PLAN.figures_folder, PLAN.report
RENDERINGS = ["md", "tex", "html", "csv", "wide.csv", "json"]
LEDGERS = [path.as_posix() for path in claimed.ledger_paths()]


report: "reports/captions/workflow.rst"


DATA = PLAN.everything
TESTS = PLAN.data_of("test", "labels")
ROOT = quote(str(PLAN.data)) if PLAN.rendered else "{input.data:q}"  # real data keeps the texts it had
RUN = f"{PLAN.results}/runs/{{run}}/seed{{seed}}"


wildcard_constraints:
    run=r"[a-z]+-[0-9a-f]{8}",
    seed=r"\d+",
    set="real|more|synth",
    evaluation=r"[0-9a-f]{8}",
    towers="|".join(planning.MICRO_TOWERS),
    table="|".join(PLAN.tables),
    figure="[a-z]+",
    peer="|".join(planning.PEERS),


rule all:
    default_target: True
    input:
        expand(f"{TABLES}/{{table}}.md", table=PLAN.tables),


rule table_I:
    input:
        f"{TABLES}/table_I.md",
    message:
        f"table_I: see {TABLES}/table_I.md"


rule figure_1:
    input:
        f"{FIGURES}/figure_1.png",
    message:
        f"figure_1: see {FIGURES}/figure_1.png"


rule figure_2:
    input:
        f"{FIGURES}/figure_2.png",
    message:
        f"figure_2: see {FIGURES}/figure_2.png"


rule figure_6:
    input:
        f"{FIGURES}/qualitative_table_III.png",
    message:
        f"figure_6: see {FIGURES}/qualitative_table_III.png"


rule figures:
    input:
        expand(f"{FIGURES}/{{drawn}}.png", drawn=[*PLAN.figures, "figure_1", "figure_2"]),


for name in PLAN.tables:

    rule:
        name:
            name
        input:
            f"{TABLES}/{name}.md",
        message:
            f"{name}: see {TABLES}/{name}.md"


if PLAN.rendered:

    rule world:
        input:
            DATA,

    rule training_words:
        input:
            ancient("ablations/micro/world.gin"),
        output:
            directory(f"{PLAN.data}/train/{{set}}"),
        log:
            f"{PLAN.results}/logs/world-{{set}}.log",
        priority: 2  # all cores at once, which trainings would never leave free
        conda:
            "ablations/environment.yaml"
        threads: workflow.cores
        params:
            data=PLAN.data,
        message:
            "render the micro world's training set {wildcards.set}"
        shell:
            "python -m core.data.micro {input:q} {params.data:q} --parts train/{wildcards.set:q} --workers {threads}"
            " > {log:q} 2>&1"

    rule test_words:
        input:
            ancient("ablations/micro/world.gin"),
        output:
            [directory(f"{PLAN.data}/{part}") for part in ("val", "test", "labels")],
        log:
            f"{PLAN.results}/logs/world.log",
        priority: 2  # all cores at once, which trainings would never leave free
        conda:
            "ablations/environment.yaml"
        threads: workflow.cores
        params:
            data=PLAN.data,
        message:
            "render the micro world's benchmarks"
        shell:
            "python -m core.data.micro {input:q} {params.data:q} --parts val test --workers {threads} > {log:q} 2>&1"


rule micro_towers:
    input:
        expand(f"{PLAN.results}/towers/{{towers}}.safetensors", towers=planning.MICRO_TOWERS),


rule pretrain:
    input:
        ancient("ablations/micro/{towers}.gin"),
    output:
        f"{PLAN.results}/towers/{{towers}}.safetensors",
    log:
        f"{PLAN.results}/logs/pretrain-{{towers}}.log",
    conda:
        "ablations/environment.yaml"
    threads: workflow.cores
    message:
        "pretrain the micro towers {wildcards.towers} (15 to 30 minutes on two cores; ablations/micro/ has them already)"
    shell:
        "python -m core.pretrain {input:q} {output:q} --threads {threads} > {log:q} 2>&1"


rule train:
    input:
        gin=ancient(f"{PLAN.results}/runs/{{run}}/train.gin"),
        data=lambda wildcards: ancient(PLAN.trained_on(wildcards.run)),
    output:
        f"{RUN}/model.safetensors",
        f"{RUN}/model.json",
    log:
        f"{PLAN.results}/logs/train-{{run}}-seed{{seed}}.log",
    benchmark:
        f"{PLAN.results}/logs/train-{{run}}-seed{{seed}}.tsv"
    priority: 0 if MACHINE.slots or CLUSTER else 1  # on a CPU long jobs first, or a core waits at the end; else early results
    retries: config["retries"] if workflow.is_main_process else 0  # a cluster's own job is not retried inside itself
    conda:
        "ablations/environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=config["gpus_per_run"],
        gpu_share=config["gpu_share"],
        attempt=lambda wildcards, attempt: attempt,
    params:
        out=subpath(output[0], parent=True),
    message:
        "train {wildcards.run} seed {wildcards.seed} ({log})"
    shell:
        f"{TOGETHER} core.train"
        " {input.gin:q}"
        f" --data {ROOT}"
        " --out {params.out:q} --seed {wildcards.seed:q}"
        " --attempt {resources.attempt} --threads {threads} > {log:q} 2>&1"


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        gin=ancient(f"{PLAN.results}/runs/{{run}}/{{evaluation}}.gin"),
        data=ancient(TESTS),
    output:
        f"{RUN}/evaluations/{{evaluation}}/predictions.parquet",
        f"{RUN}/evaluations/{{evaluation}}/metrics.json",
    log:
        f"{PLAN.results}/logs/evaluate-{{run}}-seed{{seed}}-{{evaluation}}.log",
    group:
        "reading"
    conda:
        "ablations/environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=config["gpus_per_run"],
        gpu_share=config["gpu_share"],
    params:
        out=subpath(output[0], ancestor=2),
    message:
        "evaluate {wildcards.run} seed {wildcards.seed} ({log})"
    shell:
        f"{TOGETHER} core.evaluate"
        " {input.model:q} {input.gin:q}"
        f" --data {ROOT}"
        " --out {params.out:q}"
        " --threads {threads} > {log:q} 2>&1"


for run, evaluations in PLAN.decoded_together.items():

    rule:
        name:
            f"evaluate_{run.replace('-', '_')}"
        input:
            model=f"{PLAN.results}/runs/{run}/seed{{seed}}/model.safetensors",
            gin=ancient(expand(f"{PLAN.results}/runs/{run}/{{evaluation}}.gin", evaluation=evaluations)),
            data=ancient(TESTS),
        output:
            expand(
                f"{PLAN.results}/runs/{run}/seed{{{{seed}}}}/evaluations/{{evaluation}}/{{file}}",
                evaluation=evaluations,
                file=["predictions.parquet", "metrics.json"],
            ),
        log:
            f"{PLAN.results}/logs/evaluate-{run}-seed{{seed}}.log",
        group:
            "reading"
        conda:
            "ablations/environment.yaml"
        threads: MACHINE.threads
        resources:
            gpu=config["gpus_per_run"],
            gpu_share=config["gpu_share"],
        params:
            out=subpath(output[0], ancestor=2),
        message:
            f"decode {run} in {len(evaluations)} ways, one pass of its image tower"
        shell:
            f"{TOGETHER} core.evaluate"
            " {input.model:q} {input.gin:q}"
            f" --data {ROOT}"
            " --out {params.out:q}"
            " --threads {threads} > {log:q} 2>&1"

    workflow.ruleorder(f"evaluate_{run.replace('-', '_')}", "evaluate")


rule reading_time:
    input:
        model=lambda wildcards: f"{PLAN.results}/runs/{wildcards.run}/seed{wildcards.seed}/model.safetensors",
        gin=lambda wildcards: [
            ancient(f"{PLAN.results}/runs/{wildcards.run}/{evaluation}.gin") for evaluation in PLAN.timed[wildcards.run]
        ],
        data=ancient(TESTS),
    output:
        f"{RUN}/reading_time.json",
    log:
        f"{PLAN.results}/logs/reading_time-{{run}}-seed{{seed}}.log",
    conda:
        "ablations/environment.yaml"
    threads: workflow.cores  # nothing else runs beside a measurement
    resources:
        gpu=1,
        gpu_share=1,  # a measurement is alone
    params:
        threads=config["threads"] or 1,
    message:
        "time the reading of {wildcards.run} ({log})"
    shell:
        f"{LEASE} core.bench read"
        " --model {input.model:q}"
        f" --data {ROOT}"
        " {input.gin:q} --out {output:q}"
        " --threads {params.threads:q} > {log:q} 2>&1"


rule table:
    input:
        runs=f"{TABLES}/{{table}}.runs.csv",
        layout="ablations/{table}/table.yaml",
        data=ancient(TESTS),
        results=lambda wildcards: PLAN.inputs(wildcards.table),
        peers=lambda wildcards: PLAN.peers(wildcards.table),
        words=lambda wildcards: PLAN.words_of(wildcards.table),
    output:
        report(
            f"{TABLES}/{{table}}.html",
            caption="reports/captions/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        [f"{TABLES}/{{table}}.{suffix}" for suffix in RENDERINGS if suffix != "html"],
    log:
        f"{PLAN.results}/logs/{{table}}.log",
    group:
        "drawing"
    conda:
        "ablations/environment.yaml"
    params:
        results=PLAN.results,
        tables=TABLES,
    message:
        "{wildcards.table} from per-image predictions"
    shell:
        "python -m reports.tables {wildcards.table:q} --results {params.results:q} --tables {params.tables:q} > {log:q} 2>&1"


rule claims:
    input:
        ledgers=LEDGERS,
        runs=expand(f"{TABLES}/{{table}}.runs.csv", table=PLAN.tables),
        results=lambda wildcards: claimed.claimed_results(PLAN),
    output:
        report(f"{TABLES}/claims.html", caption="reports/captions/claims.rst", category="Claims"),
        [f"{TABLES}/claims.{suffix}" for suffix in ("md", "tex", "json")],
        [f"{FIGURES}/claims.{suffix}" for suffix in ("png", "svg")],
    log:
        f"{PLAN.results}/logs/claims.log",
    conda:
        "ablations/environment.yaml"
    params:
        results=PLAN.results,
        tables=TABLES,
        figures=FIGURES,
    message:
        f"the ledger of claims: see {TABLES}/claims.html"
    shell:
        "python -m reports.claims --results {params.results:q} --tables {params.tables:q} --figures {params.figures:q}"
        " > {log:q} 2>&1"


rule masks:
    output:
        json=f"{PLAN.results}/maps/masks.json",
        tables=[f"{TABLES}/table_I.{suffix}" for suffix in ("md", "tex", "html", "csv")],
    log:
        f"{PLAN.results}/logs/table_I.log",
    localrule: True
    conda:
        "ablations/environment.yaml"
    params:
        tables=TABLES,
    message:
        "table_I: masks as the model makes them"
    shell:
        "(python -m core.figures.masks --letters 3 --seed 1 --out {output.json:q} && python -m reports.masks {output.json:q} {params.tables:q})"
        " > {log:q} 2>&1"


rule zero_shot:
    input:
        ancient("ablations/figures/zero_shot.gin"),
    output:
        directory(f"{PLAN.results}/maps/{PLAN.scale}/figure_1"),
    log:
        f"{PLAN.results}/logs/figure_1.log",
    conda:
        "ablations/environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=1,
        gpu_share=config["gpu_share"],
    params:
        scale=PLAN.scale,
    message:
        "classify a picture with a word sticker on it"
    shell:
        f"{LEASE} core.figures.zero_shot" " {input:q} --out {output:q} --scale {params.scale:q} --threads {threads} > {log:q} 2>&1"


rule attention:
    input:
        gin=ancient("ablations/figures/attention.gin"),
        data=ancient(TESTS),
    output:
        directory(f"{PLAN.results}/maps/{PLAN.study or PLAN.scale}/figure_2"),
    log:
        f"{PLAN.results}/logs/figure_2.log",
    conda:
        "ablations/environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=1,
        gpu_share=config["gpu_share"],
    params:
        scale=PLAN.scale,
    message:
        "where the image tower looks on test words"
    shell:
        f"{LEASE} core.figures.attention"
        " {input.gin:q}"
        f" --data {ROOT}"
        " --out {output:q} --scale {params.scale:q} --threads {threads}"
        " > {log:q} 2>&1"


for figure, maps in (("figure_1", PLAN.scale), ("figure_2", PLAN.study or PLAN.scale)):

    rule:
        name:
            f"draw_{figure}"
        input:
            f"{PLAN.results}/maps/{maps}/{figure}",
        output:
            report(
                f"{FIGURES}/{figure}.png",
                caption=f"reports/captions/{figure}.rst",
                category="Figures",
                labels={"figure": figure},
            ),
            f"{FIGURES}/{figure}.svg",
        log:
            f"{PLAN.results}/logs/draw-{figure}.log",
        group:
            "drawing"
        conda:
            "ablations/environment.yaml"
        params:
            figure=figure,
            stem=lambda wildcards, output: output[0].removesuffix(".png"),
        message:
            f"draw {figure}"
        shell:
            "python -m reports.figures.heatmaps {params.figure:q} {input:q} {params.stem:q} > {log:q} 2>&1"


rule figure:
    input:
        runs=f"{TABLES}/{{table}}.runs.csv",
        layout="ablations/{table}/table.yaml",
        data=ancient(TESTS),
        results=lambda wildcards: PLAN.drawn_from(wildcards.figure, wildcards.table),
        words=lambda wildcards: PLAN.words_of(wildcards.table),
    output:
        report(
            f"{FIGURES}/{{figure}}_{{table}}.png",
            caption="reports/captions/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "table": "{table}"},
        ),
        f"{FIGURES}/{{figure}}_{{table}}.svg",
    log:
        f"{PLAN.results}/logs/{{figure}}_{{table}}.log",
    group:
        "drawing"
    conda:
        "ablations/environment.yaml"
    params:
        results=PLAN.results,
        tables=TABLES,
        figures=FIGURES,
    message:
        "draw {wildcards.figure} of {wildcards.table}"
    shell:
        "python -m reports.figures {wildcards.figure:q} {wildcards.table:q} --results {params.results:q} --tables {params.tables:q}"
        " --out {params.figures:q} > {log:q} 2>&1"


rule peer:
    input:
        data=ancient(TESTS),
    output:
        f"{PLAN.peers_folder}/{{peer}}/predictions.parquet",
        f"{PLAN.peers_folder}/{{peer}}/metrics.json",
    log:
        f"{PLAN.results}/logs/peer-{{peer}}.log",
    conda:
        "ablations/environment.yaml"
    threads: MACHINE.threads
    params:
        out=subpath(output[0], parent=True),
    message:
        "read every benchmark with {wildcards.peer}, an outside reader ({log})"
    shell:
        "python -m core.peers {wildcards.peer:q}" f" --data {ROOT}" " --out {params.out:q} --threads {threads} > {log:q} 2>&1"


rule search:
    input:
        gin=ancient("ablations/lr_search.gin"),
        data=ancient(DATA),
    output:
        f"{PLAN.results}/searches/{PLAN.study or PLAN.scale}/search.json",
    log:
        f"{PLAN.results}/logs/lr_search.log",
    conda:
        "ablations/environment.yaml"
    threads: workflow.cores  # Ray shares them out
    resources:
        gpu=1,
        gpu_share=config["gpu_share"],
    params:
        out=subpath(output[0], parent=True),
        scale=PLAN.scale,
        each=MACHINE.threads,
        jobs=lambda wildcards, threads: max(1, threads // MACHINE.threads),
    message:
        "search the learning rate in short trainings ({log})"
    shell:
        f"{LEASE} core.search"
        " {input.gin:q}"
        f" --data {ROOT}"
        " --out {params.out:q} --scale {params.scale:q}"
        " --threads {params.each:q} --jobs {params.jobs:q} > {log:q} 2>&1"


rule lr_search:
    input:
        f"{PLAN.results}/searches/{PLAN.study or PLAN.scale}/search.json",
    output:
        report(
            f"{TABLES}/lr_search.png",
            caption="reports/captions/lr_search.rst",
            category="Figures",
            labels={"figure": "lr_search"},
        ),
        [f"{TABLES}/lr_search.{suffix}" for suffix in ("md", "csv", "json", "svg")],
    log:
        f"{PLAN.results}/logs/lr_search-table.log",
    conda:
        "ablations/environment.yaml"
    params:
        stem=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        f"lr_search: see {TABLES}/lr_search.md"
    shell:
        "python -m reports.search {input:q} {params.stem:q} > {log:q} 2>&1"


rule doctor:
    input:
        data=DATA,
    output:
        html=report(f"{TABLES}/doctor.html", category="Data"),
        text=f"{TABLES}/doctor.txt",
    log:
        f"{PLAN.results}/logs/doctor.log",
    conda:
        "ablations/environment.yaml"
    threads: workflow.cores
    message:
        f"what lies in the data, and which tables it can reproduce: see {TABLES}/doctor.html"
    shell:
        "python -m core.data.doctor" f" {ROOT}" " --html {output.html:q} --workers {threads} > {output.text:q} 2> {log:q}"


rule report:
    input:
        tables=expand(f"{TABLES}/{{table}}.{{suffix}}", table=PLAN.tables, suffix=RENDERINGS),
        masks=f"{TABLES}/table_I.md",
        claims=f"{TABLES}/claims.md" if LEDGERS else [],
        figures=expand(f"{FIGURES}/{{drawn}}.png", drawn=[*PLAN.figures, "figure_1", "figure_2"]),
    output:
        expand(f"{REPORT}.{{suffix}}", suffix=["md", "tex", "html"]),
    log:
        f"{PLAN.results}/logs/report.log",
    conda:
        "ablations/environment.yaml"
    params:
        results=PLAN.results,
        tables=TABLES,
        figures=FIGURES,
        out=REPORT,
        names=list(PLAN.tables),
    message:
        f"the report: see {REPORT}.html"
    shell:
        "python -m reports.report {params.names:q} --results {params.results:q} --tables {params.tables:q}"
        " --figures {params.figures:q} --out {params.out:q} > {log:q} 2>&1"

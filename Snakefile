# Rules only: what is made of what. Which rows, runs and folders there are is worked out (and tested) in ablations/plan.py.
# snakemake -j2 table_VI        the paper's Table VI at micro scale, on the embedded data set
# snakemake -n table_VI         what that would do
# snakemake -j2 report          every table and figure, and one document of them all
import sys
from pathlib import Path
from shlex import quote

from snakemake.utils import min_version, validate

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from ablations import plan as planning


configfile: workflow.source_path("ablations/workflow.yaml")


validate(config, "ablations/workflow.schema.yaml")
PLAN = planning.make(config)
PLAN.write()
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH; ")  # jobs run under this Python
TABLES, FIGURES, REPORT = PLAN.tables_folder, PLAN.figures_folder, PLAN.report
RENDERINGS = ["md", "tex", "html", "csv", "wide.csv", "json"]


report: "reports/captions/workflow.rst"


RUN = f"{PLAN.results}/runs/{{run}}/seed{{seed}}"


wildcard_constraints:
    run=r"[a-z]+-[0-9a-f]{8}",
    seed=r"\d+",
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
            ancient("ablations/micro/world.gin"),
        output:
            directory(PLAN.data),
        log:
            f"{PLAN.results}/logs/world.log",
        conda:
            "ablations/environment.yaml"
        threads: workflow.cores
        message:
            "render the micro world"
        shell:
            "python -m core.data.micro {input} {output} --workers {threads} > {log} 2>&1"


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
        "python -m core.pretrain {input} {output} --threads {threads} > {log} 2>&1"


rule train:
    input:
        gin=ancient(f"{PLAN.results}/runs/{{run}}/train.gin"),
        data=ancient(PLAN.data),
    output:
        f"{RUN}/model.safetensors",
        f"{RUN}/model.json",
    log:
        f"{PLAN.results}/logs/train-{{run}}-seed{{seed}}.log",
    benchmark:
        f"{PLAN.results}/logs/train-{{run}}-seed{{seed}}.tsv"
    conda:
        "ablations/environment.yaml"
    threads: config["threads"]
    resources:
        gpu=1,
    params:
        out=subpath(output[0], parent=True),
    message:
        "train {wildcards.run} seed {wildcards.seed} ({log})"
    shell:
        "python -m core.train {input.gin} --data {input.data} --out {params.out} --seed {wildcards.seed}"
        " --threads {threads} > {log} 2>&1"


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        gin=ancient(f"{PLAN.results}/runs/{{run}}/{{evaluation}}.gin"),
        data=ancient(PLAN.data),
    output:
        f"{RUN}/evaluations/{{evaluation}}/predictions.parquet",
        f"{RUN}/evaluations/{{evaluation}}/metrics.json",
    log:
        f"{PLAN.results}/logs/evaluate-{{run}}-seed{{seed}}-{{evaluation}}.log",
    conda:
        "ablations/environment.yaml"
    threads: config["threads"]
    resources:
        gpu=1,
    params:
        out=subpath(output[0], ancestor=2),
    message:
        "evaluate {wildcards.run} seed {wildcards.seed} ({log})"
    shell:
        "python -m core.evaluate {input.model} {input.gin} --data {input.data} --out {params.out}"
        " --threads {threads} > {log} 2>&1"


for run, evaluations in PLAN.decoded_together.items():

    rule:
        name:
            f"evaluate_{run.replace('-', '_')}"
        input:
            model=f"{PLAN.results}/runs/{run}/seed{{seed}}/model.safetensors",
            gin=ancient(expand(f"{PLAN.results}/runs/{run}/{{evaluation}}.gin", evaluation=evaluations)),
            data=ancient(PLAN.data),
        output:
            expand(
                f"{PLAN.results}/runs/{run}/seed{{{{seed}}}}/evaluations/{{evaluation}}/{{file}}",
                evaluation=evaluations,
                file=["predictions.parquet", "metrics.json"],
            ),
        log:
            f"{PLAN.results}/logs/evaluate-{run}-seed{{seed}}.log",
        conda:
            "ablations/environment.yaml"
        threads: config["threads"]
        resources:
            gpu=1,
        params:
            out=subpath(output[0], ancestor=2),
        message:
            f"decode {run} in {len(evaluations)} ways, one pass of its image tower"
        shell:
            "python -m core.evaluate {input.model} {input.gin} --data {input.data} --out {params.out}"
            " --threads {threads} > {log} 2>&1"

    workflow.ruleorder(f"evaluate_{run.replace('-', '_')}", "evaluate")


rule reading_time:
    input:
        model=lambda wildcards: f"{PLAN.results}/runs/{wildcards.run}/seed{wildcards.seed}/model.safetensors",
        gin=lambda wildcards: [
            ancient(f"{PLAN.results}/runs/{wildcards.run}/{evaluation}.gin") for evaluation in PLAN.timed[wildcards.run]
        ],
        data=ancient(PLAN.data),
    output:
        f"{RUN}/reading_time.json",
    log:
        f"{PLAN.results}/logs/reading_time-{{run}}-seed{{seed}}.log",
    conda:
        "ablations/environment.yaml"
    threads: workflow.cores  # nothing else runs beside a measurement
    resources:
        gpu=1,
    params:
        threads=config["threads"],
    message:
        "time the reading of {wildcards.run} ({log})"
    shell:
        "python -m core.bench read --model {input.model} --data {input.data} {input.gin} --out {output}"
        " --threads {params.threads} > {log} 2>&1"


rule table:
    input:
        runs=f"{TABLES}/{{table}}.runs.csv",
        layout="ablations/{table}/table.yaml",
        data=ancient(PLAN.data),
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
    conda:
        "ablations/environment.yaml"
    params:
        results=PLAN.results,
        tables=TABLES,
    message:
        "{wildcards.table} from per-image predictions"
    shell:
        "python -m reports.tables {wildcards.table} --results {params.results} --tables {params.tables} > {log} 2>&1"


rule masks:
    output:
        json=f"{PLAN.results}/maps/masks.json",
        tables=[f"{TABLES}/table_I.{suffix}" for suffix in ("md", "tex", "html", "csv")],
    log:
        f"{PLAN.results}/logs/table_I.log",
    conda:
        "ablations/environment.yaml"
    params:
        tables=TABLES,
    message:
        "table_I: masks as the model makes them"
    shell:
        "(python -m core.masks --letters 3 --seed 1 --out {output.json} && python -m reports.masks {output.json} {params.tables})"
        " > {log} 2>&1"


rule zero_shot:
    input:
        ancient("ablations/figures/zero_shot.gin"),
    output:
        directory(f"{PLAN.results}/maps/{PLAN.scale}/figure_1"),
    log:
        f"{PLAN.results}/logs/figure_1.log",
    conda:
        "ablations/environment.yaml"
    resources:
        gpu=1,
    params:
        scale=PLAN.scale,
    message:
        "classify a picture with a word sticker on it"
    shell:
        "python -m core.zero_shot {input} --out {output} --scale {params.scale} > {log} 2>&1"


rule attention:
    input:
        gin=ancient("ablations/figures/attention.gin"),
        data=ancient(PLAN.data),
    output:
        directory(f"{PLAN.results}/maps/{PLAN.study or PLAN.scale}/figure_2"),
    log:
        f"{PLAN.results}/logs/figure_2.log",
    conda:
        "ablations/environment.yaml"
    resources:
        gpu=1,
    params:
        scale=PLAN.scale,
    message:
        "where the image tower looks on test words"
    shell:
        "python -m core.attention {input.gin} --data {input.data} --out {output} --scale {params.scale} > {log} 2>&1"


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
        conda:
            "ablations/environment.yaml"
        params:
            figure=figure,
            stem=lambda wildcards, output: output[0].removesuffix(".png"),
        message:
            f"draw {figure}"
        shell:
            "python -m reports.figures.heatmaps {params.figure} {input} {params.stem} > {log} 2>&1"


rule figure:
    input:
        runs=f"{TABLES}/{{table}}.runs.csv",
        layout="ablations/{table}/table.yaml",
        data=ancient(PLAN.data),
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
    conda:
        "ablations/environment.yaml"
    params:
        results=PLAN.results,
        tables=TABLES,
        figures=FIGURES,
    message:
        "draw {wildcards.figure} of {wildcards.table}"
    shell:
        "python -m reports.figures {wildcards.figure} {wildcards.table} --results {params.results} --tables {params.tables}"
        " --out {params.figures} > {log} 2>&1"


rule peer:
    input:
        ancient(PLAN.data),
    output:
        f"{PLAN.peers_folder}/{{peer}}/predictions.parquet",
        f"{PLAN.peers_folder}/{{peer}}/metrics.json",
    log:
        f"{PLAN.results}/logs/peer-{{peer}}.log",
    conda:
        "ablations/environment.yaml"
    threads: config["threads"]
    params:
        out=subpath(output[0], parent=True),
    message:
        "read every benchmark with {wildcards.peer}, an outside reader ({log})"
    shell:
        "python -m core.peers {wildcards.peer} --data {input} --out {params.out} > {log} 2>&1"


rule report:
    input:
        tables=expand(f"{TABLES}/{{table}}.{{suffix}}", table=PLAN.tables, suffix=RENDERINGS),
        masks=f"{TABLES}/table_I.md",
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
        "python -m reports.report {params.names} --results {params.results} --tables {params.tables}"
        " --figures {params.figures} --out {params.out} > {log} 2>&1"

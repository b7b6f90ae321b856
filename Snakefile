# Rules only: what is made of what. Which rows, runs and folders there are is worked out (and tested) in ablations/plan.py.
# snakemake -j2 table_VI        the paper's Table VI at micro scale, on the embedded data set
# snakemake -n table_VI         what that would do
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
TABLES = PLAN.tables_folder
RUN = f"{PLAN.results}/runs/{{run}}/seed{{seed}}"


wildcard_constraints:
    run=r"[a-z]+-[0-9a-f]{8}",
    seed=r"\d+",
    evaluation=r"[0-9a-f]{8}",
    towers="|".join(planning.MICRO_TOWERS),
    table="|".join(PLAN.tables),


rule all:
    default_target: True
    input:
        expand(f"{TABLES}/{{table}}.md", table=PLAN.tables),


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


rule table:
    input:
        runs=f"{TABLES}/{{table}}.runs.csv",
        layout="ablations/{table}/table.yaml",
        predictions=lambda wildcards: PLAN.predictions(wildcards.table),
    output:
        f"{TABLES}/{{table}}.md",
        f"{TABLES}/{{table}}.csv",
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

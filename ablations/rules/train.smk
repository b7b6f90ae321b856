# Models: trained, and the learning rate that is searched for them.


rule train:
    input:
        gin=ancient(f"{PLAN.results}/runs/{{run}}/train.gin"),
        data=lambda wildcards: ancient(PLAN.trained_on(wildcards.run)),
        start=lambda wildcards: ancient(PLAN.start_of(wildcards.run, wildcards.seed)),
        towers=lambda wildcards: ancient(PLAN.towers_of(wildcards.run, CHECKOUT)),
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
        "../environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=config["gpus_per_run"],
        gpu_share=config["gpu_share"],
        attempt=lambda wildcards, attempt: attempt,
    params:
        out=subpath(output[0], parent=True),
        start=lambda wildcards, input: ["--start", *input.start] if input.start else [],
    message:
        "train {wildcards.run} seed {wildcards.seed} ({log})"
    shell:
        f"{TOGETHER} core.train"
        " {input.gin:q}"
        f" --data {ROOT}"
        " --out {params.out:q} --seed {wildcards.seed:q} {params.start:q}"
        " --attempt {resources.attempt} --threads {threads} > {log:q} 2>&1"


rule trial:
    input:
        gin=ancient(f"{PLAN.searches}/{{run}}/train.gin"),
        data=user_errors()(lambda wildcards: ancient(SEARCH.data)),
        towers=user_errors()(lambda wildcards: ancient(SEARCH.towers(CHECKOUT))),
    output:
        touch(f"{PLAN.searches}/{{run}}/seed{{seed}}/trial.done"),
    log:
        f"{PLAN.results}/logs/trial-{{run}}-seed{{seed}}.log",
    retries: config["retries"] if workflow.is_main_process else 0
    conda:
        "../environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=config["gpus_per_run"],
        gpu_share=config["gpu_share"],
        attempt=lambda wildcards, attempt: attempt,
    params:
        out=subpath(output[0], parent=True),
    message:
        "a short training of the learning-rate search, {wildcards.run} ({log})"
    shell:  # a loss that explodes is a result of a search, not a failure
        f"{TOGETHER} core.train"
        " {input.gin:q}"
        f" --data {ROOT}"
        " --out {params.out:q} --seed {wildcards.seed:q} --tracking off"
        " --attempt {resources.attempt} --threads {threads} > {log:q} 2>&1"
        " || test -f {params.out:q}/bad-step.json"


rule lr_search:
    input:
        plan=user_errors()(lambda wildcards: SEARCH.inputs[0]),
        trials=user_errors()(lambda wildcards: SEARCH.inputs[1:]),
    output:
        report(
            f"{TABLES}/lr_search.png",
            caption="../../reports/captions/lr_search.rst",
            category="Figures",
            labels={"figure": "lr_search"},
        ),
        [f"{TABLES}/lr_search.{suffix}" for suffix in ("md", "csv", "json", "svg")],
    log:
        f"{PLAN.results}/logs/lr_search-table.log",
    conda:
        "../environment.yaml"
    params:
        code=CODE,
        stem=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        f"lr_search: see {TABLES}/lr_search.md"
    shell:
        "python -m reports.search {input.plan:q} {params.stem:q} > {log:q} 2>&1"

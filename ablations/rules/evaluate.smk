# What trained models, and peer readers, read of the test words; and how fast.


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        gin=lambda wildcards: [
            ancient(f"{PLAN.results}/runs/{wildcards.run}/{evaluation}.gin")
            for evaluation in PLAN.evaluations.get(wildcards.run, [])
        ],
        data=ancient(TESTS),
    output:
        # of all that it writes: predictions stay when this is made again, and only what is missing is read
        f"{RUN}/evaluations.json",
    log:
        f"{PLAN.results}/logs/evaluate-{{run}}-seed{{seed}}.log",
    group:
        "reading"
    conda:
        "../environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=config["gpus_per_run"],
        gpu_share=config["gpu_share"],
    message:
        "evaluate {wildcards.run} seed {wildcards.seed} ({log})"
    shell:
        f"{TOGETHER} core.evaluate"
        " {input.model:q} {input.gin:q}"
        f" --data {TESTED}"
        " --update --threads {threads} > {log:q} 2>&1"


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
        "../environment.yaml"
    threads: CORES  # no other job of this workflow runs beside a measurement
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


rule peer:
    input:
        data=ancient(TESTS),
    output:
        f"{PLAN.peers_folder}/{{peer}}/predictions.parquet",
        f"{PLAN.peers_folder}/{{peer}}/metrics.json",
    log:
        f"{PLAN.results}/logs/peer-{{peer}}.log",
    conda:
        "../environment.yaml"
    threads: MACHINE.threads
    params:
        out=subpath(output[0], parent=True),
        state=f"{PLAN.results}/peers/state/{{peer}}",
    message:
        "read every benchmark with {wildcards.peer}, a peer reader ({log})"
    shell:
        "python -m core.peers {wildcards.peer:q}"
        f" --data {TESTED}"
        " --out {params.out:q} --state {params.state:q} --threads {threads} > {log:q} 2>&1"

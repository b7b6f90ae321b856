# The rendered world and its towers; what lies in a folder of data.


if PLAN.rendered:

    rule world:
        input:
            PLAN.data_inputs.all_inputs,

    rule training_words:
        input:
            ancient(f"{CHECKOUT}{PLAN.source.world_file}"),
        output:
            directory(f"{PLAN.data}/train/{{set}}"),
        log:
            f"{PLAN.results}/logs/world-{{set}}.log",
        priority: 2  # all cores at once, which trainings would never leave free
        conda:
            "../environment.yaml"
        threads: CORES
        params:
            data=PLAN.data,
        message:
            f"render the {PLAN.data_name}: training set {{wildcards.set}}"
        shell:
            "python -m core.data.micro {input:q} {params.data:q} --parts train/{wildcards.set:q} --workers {threads}"
            " > {log:q} 2>&1"

    rule test_words:
        input:
            ancient(f"{CHECKOUT}{PLAN.source.world_file}"),
        output:
            [directory(f"{PLAN.data}/{part}") for part in ("val", "test", "labels")],
        log:
            f"{PLAN.results}/logs/world.log",
        priority: 2  # all cores at once, which trainings would never leave free
        conda:
            "../environment.yaml"
        threads: CORES
        params:
            data=PLAN.data,
        message:
            f"render the {PLAN.data_name}: benchmarks"
        shell:
            "python -m core.data.micro {input:q} {params.data:q} --parts val test --workers {threads} > {log:q} 2>&1"


rule micro_towers:
    input:
        expand(f"{PLAN.results}/towers/{{towers}}.safetensors", towers=TOWERS),


rule pretrain:
    input:
        ancient(f"{CHECKOUT}ablations/micro/{{towers}}.gin"),
    output:
        f"{PLAN.results}/towers/{{towers}}.safetensors",
    log:
        f"{PLAN.results}/logs/pretrain-{{towers}}.log",
    conda:
        "../environment.yaml"
    threads: CORES
    message:
        "pretrain the micro towers {wildcards.towers} (README: By hand; ablations/micro/ has them already)"
    shell:
        "python -m core.pretrain {input:q} {output:q} --threads {threads} > {log:q} 2>&1"


rule small_towers:
    input:
        expand(f"{CHECKOUT}ablations/small/{{towers}}.safetensors", towers=TOWERS),


rule towers:
    input:
        ancient(f"{CHECKOUT}ablations/{{world}}/{{towers}}.gin"),
    output:
        f"{CHECKOUT}ablations/{{world}}/{{towers}}.safetensors",
    log:
        f"{PLAN.results}/logs/pretrain-{{world}}-{{towers}}.log",
    priority: 2  # all cores at once, which trainings would never leave free
    conda:
        "../environment.yaml"
    threads: CORES
    resources:
        gpu=1,
        gpu_share=config["gpu_share"],
    message:
        "pretrain the {wildcards.world} towers {wildcards.towers}, once (python -m ablations.plan says how long; {log})"
    shell:
        f"{LEASE} core.pretrain {{input:q}} {{output:q}} --threads {{threads}} > {{log:q}} 2>&1"


rule doctor:
    input:
        data=PLAN.data_inputs.all_inputs,
    output:
        html=report(f"{TABLES}/doctor.html", category="Data"),
        text=f"{TABLES}/doctor.txt",
    log:
        f"{PLAN.results}/logs/doctor.log",
    conda:
        "../environment.yaml"
    threads: CORES
    message:
        f"what lies in the data, and which tables it can reproduce: see {TABLES}/doctor.html"
    shell:
        "python -m core.data.doctor" f" {ROOT}" " --html {output.html:q} --workers {threads} > {output.text:q} 2> {log:q}"

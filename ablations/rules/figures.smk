# From predictions, models and maps to figures.


rule zero_shot:
    input:
        gin=ancient(f"{CHECKOUT}ablations/figures/zero_shot.gin"),
        towers=ancient(PLAN.figure_towers(CHECKOUT)),
    output:
        directory(f"{PLAN.results}/maps/{PLAN.scale}/figure_1"),
    log:
        f"{PLAN.results}/logs/figure_1.log",
    conda:
        "../environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=1,
        gpu_share=config["gpu_share"],
    params:
        scale=PLAN.scale,
        identity=PLAN.figure_identity("ablations/figures/zero_shot.gin"),  # a change of it makes the figure again
    message:
        "classify a picture with a word sticker on it"
    shell:
        f"{LEASE} core.figures.zero_shot"
        " {input.gin:q} --out {output:q} --scale {params.scale:q} --threads {threads} > {log:q} 2>&1"


rule attention:
    input:
        gin=ancient(f"{CHECKOUT}ablations/figures/attention.gin"),
        towers=ancient(PLAN.figure_towers(CHECKOUT)),
        data=ancient(TESTS),
    output:
        directory(f"{PLAN.results}/maps/{PLAN.test_study}/figure_2"),
    log:
        f"{PLAN.results}/logs/figure_2.log",
    conda:
        "../environment.yaml"
    threads: MACHINE.threads
    resources:
        gpu=1,
        gpu_share=config["gpu_share"],
    params:
        scale=PLAN.scale,
        identity=PLAN.figure_identity("ablations/figures/attention.gin"),
    message:
        "where the image tower looks on test words"
    shell:
        f"{LEASE} core.figures.attention"
        " {input.gin:q}"
        f" --data {ROOT}"
        " --out {output:q} --scale {params.scale:q} --threads {threads}"
        " > {log:q} 2>&1"


for figure, maps in (("figure_1", PLAN.scale), ("figure_2", PLAN.test_study)):

    rule:
        name:
            f"draw_{figure}"
        input:
            f"{PLAN.results}/maps/{maps}/{figure}",
        output:
            report(
                f"{FIGURES}/{figure}.png",
                caption=f"../../reports/captions/{figure}.rst",
                category="Figures",
                labels={"figure": figure},
            ),
            f"{FIGURES}/{figure}.svg",
        log:
            f"{PLAN.results}/logs/draw-{figure}.log",
        group:
            "drawing"
        conda:
            "../environment.yaml"
        params:
            code=CODE,
            figure=figure,
            stem=lambda wildcards, output: output[0].removesuffix(".png"),
        message:
            f"draw {figure}"
        shell:
            "python -m reports.figures {params.figure:q} {input:q} {params.stem:q} > {log:q} 2>&1"


rule figure:
    input:
        runs=f"{TABLES}/{{table}}.runs.csv",
        layout=f"{CHECKOUT}ablations/{{table}}/table.yaml",
        data=ancient(TESTS),
        results=lambda wildcards: PLAN.drawn_from(wildcards.figure, wildcards.table),
        published=lambda wildcards: PLAN.published_inputs(wildcards.table, CHECKOUT),
    output:
        report(
            f"{FIGURES}/{{figure}}_{{table}}.png",
            caption="../../reports/captions/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "table": "{table}"},
        ),
        f"{FIGURES}/{{figure}}_{{table}}.svg",
    log:
        f"{PLAN.results}/logs/{{figure}}_{{table}}.log",
    group:
        "drawing"
    conda:
        "../environment.yaml"
    params:
        code=CODE,
        results=PLAN.results,
        tables=TABLES,
        figures=FIGURES,
    message:
        "draw {wildcards.figure} of {wildcards.table}"
    shell:
        "python -m reports.figures {wildcards.figure:q} {wildcards.table:q} --results {params.results:q} --tables {params.tables:q}"
        " --out {params.figures:q} > {log:q} 2>&1"

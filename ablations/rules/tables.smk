# From predictions to tables, the ledger of claims and the report.


rule table:
    input:
        runs=f"{TABLES}/{{table}}.runs.csv",
        layout=f"{CHECKOUT}ablations/{{table}}/table.yaml",
        data=ancient(TESTS),
        results=lambda wildcards: PLAN.inputs(wildcards.table),
        peers=lambda wildcards: PLAN.peers(wildcards.table),
        published=lambda wildcards: PLAN.published_inputs(wildcards.table, CHECKOUT),
    output:
        report(
            f"{TABLES}/{{table}}.html",
            caption="../../reports/captions/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        [f"{TABLES}/{{table}}.{suffix}" for suffix in RENDERINGS if suffix != "html"],
    log:
        f"{PLAN.results}/logs/{{table}}.log",
    group:
        "drawing"
    conda:
        "../environment.yaml"
    params:
        code=CODE,
        results=PLAN.results,
        tables=TABLES,
    message:
        "{wildcards.table} from per-image predictions"
    shell:
        "python -m reports.tables {wildcards.table:q} --results {params.results:q} --tables {params.tables:q} > {log:q} 2>&1"


rule claims:
    input:
        ledgers=LEDGERS,
        layouts=expand(f"{CHECKOUT}ablations/{{table}}/table.yaml", table=PLAN.tables),
        runs=expand(f"{TABLES}/{{table}}.runs.csv", table=PLAN.tables),
        results=user_errors()(lambda wildcards: claimed.claimed_results(PLAN, CHECKOUT)),
    output:
        report(f"{TABLES}/claims.html", caption="../../reports/captions/claims.rst", category="Claims"),
        [f"{TABLES}/claims.{suffix}" for suffix in ("md", "tex", "json")],
        [f"{FIGURES}/claims.{suffix}" for suffix in ("png", "svg")],
    log:
        f"{PLAN.results}/logs/claims.log",
    conda:
        "../environment.yaml"
    params:
        code=CODE,
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
        "../environment.yaml"
    params:
        code=CODE,
        tables=TABLES,
    message:
        "table_I: masks as the model makes them"
    shell:
        "(python -m core.figures.masks --letters 3 --seed 1 --out {output.json:q} && python -m reports.masks {output.json:q} {params.tables:q})"
        " > {log:q} 2>&1"


rule report:
    input:
        tables=expand(f"{TABLES}/{{table}}.{{suffix}}", table=PLAN.tables, suffix=RENDERINGS),
        masks=f"{TABLES}/table_I.md",
        claims=f"{TABLES}/claims.md" if LEDGERS else [],
        figures=expand(f"{FIGURES}/{{drawn}}.png", drawn=DRAWN),
    output:
        expand(f"{REPORT}.{{suffix}}", suffix=["md", "tex", "html"]),
    log:
        f"{PLAN.results}/logs/report.log",
    conda:
        "../environment.yaml"
    params:
        code=CODE,
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

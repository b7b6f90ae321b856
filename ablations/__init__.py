"""What is varied (gin files, table.yaml), and the Python that turns rows into runs (`python -m ablations.plan`).

    plan/               the plan of tables: rows, runs, outputs        progress.py, why.py    what exists, why it is made again
    rows.py             gin files of a table as rows                   page.py, show.py       the plan as printed text
    row_config.py       what a row's gin file builds, cached           price.py, power.py     cost, and seeds needed
    blueprint.py        builds rows without memory for weights         memory.py              device memory of a step
    source.py, marks.py the data: identity; inputs of Snakemake        assumptions.py, calibration.py, devices.yaml   estimates
    columns.py          which folder fills each column                 recipe.py, recipe_page.py, recipe.yaml         docs/recipe.md
    sweeps.py           rows of sweeps as gin files                    lr_search.py, lr_search.yaml   learning-rate search
    machine.py          GPUs and threads of jobs                       claimed.py, claims.yaml        inputs of the claims

The gin files: base.gin (CLIP4STR-B and every knob), table_*/ (rows), and what rows include: scale/, backbones/, variants/,
adapters/. Lines below [paper], [micro] or [smoke] in them count at that scale only (core/config.py).
"""

# Sets up .venv from the pinned requirements, then runs. `make table_VI`, `make report`, `make test`.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
ARGS ?=
READY := $(VENV)/.ready
SNAKEMAKE = snakemake -j$(JOBS) --rerun-incomplete --show-failed-logs

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup report figures test test-all test-gpu gpu-day test-slurm test-mutations lint clean

help:
	@echo "make table_VI    run the paper's Table VI (at micro scale unless ARGS says otherwise)"
	@echo "make report      every table and figure, and one document of them"
	@echo "make test        run the tests"
	@echo "make test-all    the same, with what some of them need installed first: Chromium, a small TeX, outside readers, ONNX"
	@echo "make test-gpu    what only a GPU can show: parity, repeats, leases, memory, several processes"
	@echo "make gpu-day     everything that only a GPU can answer, in nine minutes; logs and summary.md in gpu-day/"
	@echo "make test-slurm  run a table through a Slurm cluster started here for it (needs slurm-wlm and munge; minutes)"
	@echo "make test-mutations  change lines one at a time and see whether a test fails (three minutes for ten; ARGS='--sample 50 --seed 1')"
	@echo "make lint        ruff, snakefmt, snakemake --lint"
	@echo "  ARGS='--config scale=paper data=DIR'   is passed on to snakemake"
	@echo "  JOBS=8                                 jobs at once (default: all cores)"

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps -e .
	touch $@

report figures: $(READY)
	$(SNAKEMAKE) $@ $(ARGS)

table_% figure_%: $(READY)
	$(SNAKEMAKE) $@ $(ARGS)

test: $(READY)
	python -m pytest --numprocesses=$(JOBS) --dist=loadfile

test-all: $(READY)
	sh tests/support/tools.sh
	python -m pytest --numprocesses=$(JOBS) --dist=loadfile

test-gpu: $(READY)
	python -m pytest -m gpu tests/gpu

gpu-day: $(READY)
	python -m core.bench.gpu_day gpu-day $(ARGS)

test-slurm: $(READY)
	python -m tests.slurm.cluster -- sinfo --Node --long
	python -m pip install --quiet -e '.[slurm]'
	python -m pytest -m slurm tests/slurm

test-mutations: $(READY)
	python -m pip install --quiet -e '.[mutations]'
	nice python -m tests.support.mutations $(ARGS)

lint: $(READY)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile ablations/rules/*.smk
	snakemake --lint

clean:
	rm -rf $(VENV) .snakemake

# make demo   everything, real data, no network data, no GPU, minutes
# make test   the test suite; make test-long: what it leaves out, faults and fuzzing at full size
# All set up .venv with the pinned packages of envs/requirements.lock first, and bedtools where missing.

PYTHON ?= python3
# Three at most: each training of the demo takes up to 1 GB.
CORES ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 3 ] && echo 3 || echo $$n)
PYTEST ?=

VENV := .venv
PERF := scan regions corpus dry_run pretrain_throughput benchmark_overhead
INSTALLED := $(VENV)/.installed

.PHONY: demo install test test-long perf lint format lock forms clean

demo: $(INSTALLED)
	@$(VENV)/bin/snakemake --cores $(CORES) --configfile config/demo.yaml
	@printf '\ntable:   results/demo/benchmarks/summary.md\nreport:  results/demo/report.html (open it in a browser)\n'

# What demo and test do first.
install: $(INSTALLED)

# A file of tests stays in one process.
test: $(INSTALLED)
	@envs/slurm.sh
	@$(VENV)/bin/python -m pytest -n $(CORES) --dist loadfile $(PYTEST)

test-long: $(INSTALLED)
	@envs/slurm.sh
	@$(VENV)/bin/python -m pytest -m long $(PYTEST)

lint: $(INSTALLED)
	@$(VENV)/bin/python -m pytest tests/test_style.py

format: $(INSTALLED)
	@$(VENV)/bin/ruff check --fix -q genebert tests resources; $(VENV)/bin/ruff format -q genebert tests resources
	@$(VENV)/bin/snakefmt workflow

# What the README's figures of speed and size come from: a line of JSON a script, minutes each; the constants of
# `genebert plan` come from tests/perf/plan_constants.py, a quarter of an hour. Wants a quiet
# machine; lightmotif and memelite, which the scan is compared with, come with `pip install -e .[perf]`.
perf: $(INSTALLED)
	@for script in $(PERF); do $(VENV)/bin/python tests/perf/$$script.py || exit 1; done

# The committed forms of the configuration, from genebert/config/.
forms: $(INSTALLED)
	@$(VENV)/bin/python -m genebert.config.forms

# A new lock: the newest packages that the ranges of pyproject.toml allow, as installed and tested.
lock:
	@PYTHON=$(PYTHON) envs/lock.sh

clean:
	@rm -rf $(VENV) .snakemake results/demo

$(INSTALLED): envs/requirements.lock pyproject.toml envs/setup.sh
	@PYTHON=$(PYTHON) envs/setup.sh $(VENV)
	@touch $@

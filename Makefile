# Everything runs in .venv, made from requirements.lock at the first target and made again when that file or pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
PIP_QUIET := --quiet --quiet --disable-pip-version-check --no-input
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-matrix check bench bench-ranks bench-peers results docs clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "détente needs Python 3.11 or later as '$(PYTHON)'; name another with: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making .venv from requirements.lock (a few minutes, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install $(PIP_QUIET) -r requirements.lock
	@$(BIN)/python -m pip install $(PIP_QUIET) --no-deps -e .
	@touch $@

demo: $(STAMP)  ## train a few small GANs and open a report on them
	@$(BIN)/detente demo

test: $(STAMP)  ## run the tests, on two processes (RECORD=1: and write which are slow, tests/slow.txt)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --tb=short $(if $(RECORD),--record-slow)

test-fast: $(STAMP)  ## run the tests but those of tests/slow.txt, in less than a minute
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --tb=short -m "not slow"

test-matrix: $(STAMP)  ## install the wheel beside several Pythons and PyTorches, and use it (WRITE=1: docs/compatibility.md)
	@$(BIN)/python .ci/test_matrix.py $(if $(WRITE),--write) $(if $(PYTHONS),--pythons $(PYTHONS)) $(if $(TORCH),--torch $(TORCH))

check: $(STAMP)  ## formatting, lint, types, import layers
	@command -v node >/dev/null || { echo "make check needs node (pyright runs on it); install it with your system's packages" >&2; exit 1; }
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache --no-logo

bench: $(STAMP)  ## measure step times and memory, into runs/bench/ (WRITE=1: and docs/benchmarks.md)
	@$(BIN)/python -m benchmarks $(if $(WRITE),--write)

bench-ranks: $(STAMP)  ## measure two ranks against one process, into runs/bench/ (WRITE=1: as bench)
	@$(BIN)/python -m benchmarks ranks $(if $(WRITE),--write)

bench-peers: $(STAMP) .peers/.stamp  ## measure other libraries, in .peers, into runs/bench/ (WRITE=1: as bench)
	@.peers/bin/python -m benchmarks.peers $(if $(WRITE),--write)

.peers/.stamp: benchmarks/peers-requirements.txt $(STAMP)
	@echo "making .peers from benchmarks/peers-requirements.txt"
	@$(PYTHON) -m venv .peers
	@.peers/bin/python -m pip install $(PIP_QUIET) --no-deps -r benchmarks/peers-requirements.txt
	@touch $@

results: $(STAMP)  ## make build/docs/results.md from runs/reproduce/*-laptop (WRITE=1: docs/results.md)
	@$(BIN)/python docs/scoreboard.py $(if $(WRITE),--write) $(wildcard runs/reproduce/*-laptop)

docs: $(STAMP)  ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove environments, caches and built pages; runs/ stays
	@rm -rf .venv .peers .matrix site build src/*.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

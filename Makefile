# Everything that a developer types; `make` alone says what there is.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
COMPILED := parrot/core/compiled.sha256

.DEFAULT_GOAL := help
.PHONY: help install compile interpreted check test demo dev fuzz bench chaos compose-test clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Parrot, its tools, and vLLM for CPUs, in .venv

compile: $(COMPILED)  ## ServeCore's decisions as machine code: half the time for each, once a minute to build

check: install  ## lint, format, types, import directions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: compile  ## all tests, those with the real engine too
	$(BIN)/pytest

demo: install  ## two programs on a real model, watched live
	$(BIN)/parrot demo

dev: install  ## broker, ServeCore, engine and Flower, all in one
	$(BIN)/parrot dev

fuzz: compile  ## 150,000 broken and hostile messages on every stream; all are accounted for
	$(BIN)/python -m tests.fuzz

bench: compile  ## what ServeCore and the bus cost for each hop
	@mkdir -p bench/results
	$(BIN)/python -m bench.hops --json bench/results/hops.json

chaos: compile  ## 5 minutes of programs while processes are killed at random: lost 0, twice 0
	@$(BIN)/pip install --quiet -e '.[bench]'
	@mkdir -p bench/results
	$(BIN)/python -m bench.chaos --minutes 5 --seed 1 --json bench/results/chaos.json

compose-test: install  ## docker-compose.yml, built and brought up (CONTAINER_BUILD, CONTAINER_COMPOSE name other commands)
	$(BIN)/python tests/acceptance/compose.py

interpreted:  ## undo `make compile`
	rm -f parrot/core/*.so $(COMPILED)

clean: interpreted  ## remove .venv, caches and build results; .parrot (data, prepared models) stays
	rm -rf $(VENV) build build.log dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# torch has a step of its own: the index that it comes from may be out of reach where a wheel of it lies at hand.
$(INSTALLED): pyproject.toml $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Parrot needs Python 3.11, but $(PYTHON) does not run here. Install it, or name another: make install PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || { echo "[1/4] $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "[2/4] torch for CPUs"
	@$(BIN)/pip install --no-deps --retries 1 --timeout 30 -r requirements/torch-cpu.txt
	@echo "[3/4] vLLM for CPUs"
	@$(BIN)/pip install --no-deps -r requirements/engine-cpu.txt
	@echo "[4/4] Parrot and its tools"
	@$(BIN)/pip install -e '.[dev]'
	@test "$$(uname)" != Linux || $(BIN)/python -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || \
		echo "Before a real model can run, install libnuma, which vLLM for CPUs links to: sudo apt-get install libnuma1"
	@touch $@

# Where there is no compiler all goes on as it is, only slower.
$(COMPILED): $(INSTALLED) setup.py parrot/compiled.py $(wildcard parrot/core/*.py)
	@echo "Compiling ServeCore's decisions, which takes a minute"
	@PARROT_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace >build.log 2>&1 && rm build.log || \
		{ $(MAKE) interpreted; echo "That did not work (build.log says why): ServeCore runs interpreted, which takes twice the time."; }

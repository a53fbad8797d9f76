# Two commands do everything: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test bench lint docs lock clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aet needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: .venv/ready ## train on real digits, stream another country's through it, write the report
	$(BIN)/aet demo

test: .venv/ready lint docs ## every test, doctest and lint, and whether the pages build
	$(BIN)/pytest -n 2 --dist worksteal

lint: .venv/ready ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready ## the tables of the README, some hours; goes on where it was stopped (pip install .[bench] for the peers)
	$(BIN)/python benchmarks/attention.py --json benchmarks/results/attention.json
	$(BIN)/python benchmarks/gas.py --json benchmarks/results/gas.json
	$(BIN)/python benchmarks/training.py --json benchmarks/results
	$(BIN)/python benchmarks/shift.py --json benchmarks/results/shift.json
	$(BIN)/python benchmarks/asking.py --json benchmarks/results/asking.json
	$(BIN)/python benchmarks/service.py --json benchmarks/results/service.json
	$(BIN)/python benchmarks/elastic.py --json benchmarks/results/elastic.json
	$(BIN)/python benchmarks/guard.py --json benchmarks/results/guard.json --picture docs/images/guard.svg
	$(BIN)/python benchmarks/estimates.py --json benchmarks/results/estimates.json
	$(BIN)/python benchmarks/garbage.py --json benchmarks/results/garbage.json
	$(BIN)/python benchmarks/drift_alarm.py --json benchmarks/results/drift_alarm.json
	$(BIN)/python benchmarks/serving.py --json benchmarks/results/serving.json
	$(BIN)/python benchmarks/personal.py --json benchmarks/results/personal.json
	$(BIN)/python benchmarks/kinds.py --json benchmarks/results/kinds.json
	$(BIN)/python benchmarks/knowledge.py --json benchmarks/results/knowledge.json

docs: .venv/ready ## the pages under site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lock: ## pin what is installed in .venv now
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

clean: ## remove everything that the commands made
	rm -rf .venv site build .pytest_cache .mypy_cache .ruff_cache

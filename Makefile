.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test check lint bench lock clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

.venv/.core: requirements.lock setup.cfg pyproject.toml scripts/environment.sh
	PYTHON=$(PYTHON) scripts/environment.sh requirements.lock
	@touch $@

.venv/.dev: .venv/.core requirements-dev.lock
	PYTHON=$(PYTHON) scripts/environment.sh requirements-dev.lock
	@touch $@

demo: .venv/.core  ## backtest, train, validate, certify, promote and trade on paper, on real daily bars
	scripts/demo.sh

test: .venv/.dev  ## run every test, with branch coverage
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/run_tests.sh

check: .venv/.dev lint test  ## what CI runs

lint: .venv/.dev  ## style, types and the import ladder
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p lockstep -p research -p certify -p operations
	$(BIN)/lint-imports

bench: .venv/.dev  ## measure speed and memory, as ratios in one run
	$(BIN)/python -m benchmarks

lock: .venv/.dev  ## resolve the lock files anew
	scripts/lock.sh

clean:  ## remove the environment, caches and results
	rm -rf .venv .venv-peers results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* \
		htmlcov build dist *.egg-info

.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo agents-demo test check lint docs bench soak notebooks lock clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

BUILD := setup.cfg pyproject.toml scripts/environment.sh requirements-build.lock

.venv/.core: requirements.lock $(BUILD)
	PYTHON=$(PYTHON) scripts/environment.sh $<
	@touch $@

# The locks of tests and notebooks hold the core's.
.venv/.dev: requirements-dev.lock requirements.lock $(BUILD)
	PYTHON=$(PYTHON) scripts/environment.sh $<
	@touch .venv/.core $@

.venv/.notebooks: requirements-notebooks.lock requirements.lock $(BUILD)
	PYTHON=$(PYTHON) scripts/environment.sh $<
	@touch .venv/.core $@

demo: .venv/.core  ## backtest, train, validate, certify, promote and trade on paper, on real daily bars
	scripts/demo.sh

agents-demo: .venv/.core  ## let agents propose 100 strategies, and see why none is promoted; ARGS=technical for those without a model
	scripts/agents_demo.sh $(ARGS)

test: .venv/.dev  ## run every test, with branch coverage
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/run_tests.sh $(ARGS)

check: .venv/.dev lint docs test  ## what CI runs

lint: .venv/.dev  ## style, types and the import ladder
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p lockstep -p research -p certify -p operations -p scripts
	$(BIN)/lint-imports

docs: .venv/.dev  ## build the documentation and API reference into build/docs; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/docs/index.html"

bench: .venv/.dev  ## measure speed and memory, as ratios in one run
	$(BIN)/python -m benchmarks

soak: .venv/.dev  ## hours: a million desk-days, fuzz of bundles, storms of orders, a long replay; ARGS="simulator --count 10000"
	$(BIN)/python -m benchmarks.soak $(ARGS)

notebooks: .venv/.notebooks  ## open the notebooks in Jupyter
	$(BIN)/jupyter-lab --notebook-dir notebooks $(ARGS)

lock: .venv/.dev  ## resolve the lock files after a change of setup.cfg; ARGS=--upgrade for newer releases
	scripts/lock.sh $(ARGS)

clean:  ## remove the environment, caches and results
	rm -rf .venv .venv-peers results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* \
		htmlcov build dist *.egg-info

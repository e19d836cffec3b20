# Everything runs from here on a machine with python3, venv and make. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(STAMP): requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

venv: $(STAMP)  ## the virtual environment with everything in it

demo: $(STAMP)  ## a real daemon, a real schedule, real rows into the local Salesforce
	$(BIN)/schedctl demo

unit: $(STAMP)  ## the tests that need nothing but values: an answer within a minute
	$(BIN)/python -m pytest -q -n 2 -m "not slow" tests/unit $(ARGS)

test: $(STAMP)  ## the test suite
	$(BIN)/python -m pytest -n 4 --dist loadgroup -m "not slow" $(ARGS)

lint: $(STAMP)  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint  ## the same, and the tests of the docs
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/docs

torture: $(STAMP)  ## the long forms of the tests
	$(BIN)/python -m pytest -n 2 --hypothesis-profile full -m "slow or hypothesis" -s $(ARGS)

spark: $(STAMP)  ## Apache Spark (740 MB, for Java 17 or newer) into the venv: the slow tests read from it then
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/spark.txt

bench: $(STAMP)  ## measure speed and memory; tables on stdout
	$(BIN)/python bench/run.py

dist: $(STAMP)  ## wheel and sdist in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

release-check: dist  ## build the wheel, install it in an empty environment, and run the demo there
	rm -rf dist/bare
	$(PYTHON) -m venv dist/bare
	dist/bare/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	dist/bare/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	cd dist && bare/bin/python -c "import scheduler; assert '/bare/' in scheduler.__file__, scheduler.__file__"
	cd dist && bare/bin/schedctl demo

lock: $(STAMP)  ## renew the hashed requirements from pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --all-extras --output-file requirements/dev.txt pyproject.toml requirements/dev.in
	$(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --all-extras --constraint requirements/dev.txt --output-file requirements/run.txt pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --constraint requirements/dev.txt --output-file requirements/spark.txt requirements/spark.in

clean:  ## remove what the targets made
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help venv demo unit test lint check torture spark bench dist release-check lock clean

# Every target sets up its own virtual environment from pip alone. On a machine without a GPU, a CPU build of torch
# saves gigabytes:  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export NO_MKDOCS_2_WARNING = 1

.PHONY: demo test coverage test-all test-lowest check package audit format docs docs-tables cards bench results clean

demo: $(VENV)/.core
	$(BIN)/acclimate demo

# Two processes of one thread each: more would only wait for one another on the two cores that this is timed on.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal
QUICK = -m "not slow and not network"
COVERED = --cov --cov-report=term --cov-fail-under=90

test: $(VENV)/.dev
	$(PYTEST) $(QUICK)

# The quick tests and the lines that they reach; counting takes them two thirds longer.
coverage: $(VENV)/.dev
	$(PYTEST) $(QUICK) $(COVERED)

test-all: $(VENV)/.dev
	$(PYTEST) -m "not network"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks tools
	$(BIN)/python tools/method_cards.py --check
	$(BIN)/python tools/docs_tables.py --check
	$(BIN)/mkdocs build --strict --quiet --site-dir $(VENV)/site

# The same tests on the lowest versions that pyproject.toml promises.
test-lowest:
	test -x $(VENV)-lowest/bin/python || $(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install --quiet --constraint constraints-lowest.txt --editable ".[dev]"
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/pytest $(QUICK) -n 2

# Source archive and wheel, checked; the wheel installed into an empty environment and tried there; its components listed.
# BORROW=DIR takes the packages that it needs from another environment: seconds in place of a minute.
package: $(VENV)-package/.made
	rm -rf dist
	$(VENV)-package/bin/python -m build --no-isolation --outdir dist .
	$(VENV)-package/bin/twine check --strict dist/*
	$(VENV)-package/bin/python tools/try_wheel.py dist --sbom dist/sbom.json $(if $(BORROW),--borrow $(BORROW))

# Known vulnerabilities of what is installed; without network it says so, and nothing fails.
audit: $(VENV)/.core $(VENV)-package/.made
	$(VENV)-package/bin/python tools/audit.py $(VENV)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/method_cards.py

docs: $(VENV)/.dev
	$(BIN)/mkdocs serve

# What `acclimate methods` shows without importing them, made from the code.
cards: $(VENV)/.dev
	$(BIN)/python tools/method_cards.py

# The tables of settings, options and methods, made from the code.
docs-tables: $(VENV)/.dev
	$(BIN)/python tools/docs_tables.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/text_tower.py --out results/text_tower.json
	$(BIN)/python benchmarks/coop_step.py --out results/coop_step.json
	$(BIN)/python benchmarks/cocoop_step.py --out results/cocoop_step.json
	$(BIN)/python benchmarks/maple_step.py --out results/maple_step.json
	$(BIN)/python benchmarks/gdpl_step.py --out results/gdpl_step.json
	$(BIN)/python benchmarks/spg.py --out results/spg.json
	$(BIN)/python benchmarks/aape.py --out results/aape.json

# DATA: a folder with one folder a data set, see the script.
results: $(VENV)/.dev
	@test -n "$(DATA)" || { echo "say where the data sets are: make results DATA=FOLDER"; exit 2; }
	$(BIN)/python benchmarks/foundation.py $(DATA)
	$(BIN)/acclimate bench recipes/baselines-mini.yaml --data-root $(DATA) --out runs/baselines --jobs 2
	mkdir -p results/baselines && cp runs/baselines/results.csv runs/baselines/results.md results/baselines/

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-package site dist

$(VENV)-package/.made: constraints.txt
	test -x $(VENV)-package/bin/python || $(PYTHON) -m venv $(VENV)-package
	$(VENV)-package/bin/pip install --quiet --constraint constraints.txt build cyclonedx-bom hatchling pip-audit twine
	touch $@

$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# Everything that a contributor runs. `make` alone lists the targets.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# Not `?=`: some shells export HOST, the machine's name, and the app would be open to its network.
HOST = 127.0.0.1
# Handed on by `make test` (ARGS="--no-cov tests/test_keys.py") and `make lock` (ARGS=--upgrade).
ARGS =

BIN = $(VENV)/bin
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; v = sys.version_info; \
	v >= (3, 11) and print("%d.%d.%d" % v[:3])' 2>/dev/null)
CREATED = $(VENV)/.created-$(PYTHON_VERSION)
INSTALLED = $(VENV)/.installed

.PHONY: help run run-s3 test soak bench bench-full check lint format types imports docs build-check audit lock clean
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: $(INSTALLED) ## serve the example app (HOST=127.0.0.1 PORT=8000)
	$(BIN)/uvicorn example_app.main:app --host $(HOST) --port $(PORT)

run-s3: $(INSTALLED) ## serve the example app on an S3 server that it starts
	$(BIN)/python -m example_app.run_s3

test: $(INSTALLED) ## run the whole test suite
	$(BIN)/pytest --cov $(ARGS)

soak: $(INSTALLED) ## 20,000 mixed requests on each backend; nothing may grow (about 30 minutes)
	$(BIN)/python -m benchmarks.soak $(ARGS)

bench: $(INSTALLED) ## compare with other libraries, the quick form: benchmarks/RESULTS.md (5 minutes)
	$(BIN)/python -m benchmarks $(ARGS)

bench-full: $(INSTALLED) ## the same with larger files and more rounds (about an hour)
	$(BIN)/python -m benchmarks --full $(ARGS)

check: lint types imports docs build-check test ## everything that CI checks

lint: $(INSTALLED) ## style and likely bugs
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(INSTALLED) ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(INSTALLED) ## static types
	$(BIN)/mypy

imports: $(INSTALLED) ## which module may import which
	$(BIN)/lint-imports

docs: $(INSTALLED) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build-check: $(INSTALLED) ## build the distributions and use the wheel in a clean environment
	$(BIN)/pytest tests/build_check.py

audit: $(INSTALLED) ## known vulnerabilities in the pinned versions
	$(BIN)/pip-audit --skip-editable

lock: $(CREATED) ## pin the versions of everything again (ARGS=--upgrade for the newest)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
		--custom-compile-command 'make lock' --output-file constraints.txt $(ARGS) pyproject.toml

# Not var/: the example app keeps uploads there.
clean: ## remove what the other targets made
	rm -rf $(VENV) build dist site htmlcov .coverage .coverage.* \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# By the pip of $(PYTHON): Debian's Python has no ensurepip unless python3-venv is installed.
# The version is in the name, so another $(PYTHON) gets a new environment.
$(CREATED):
	$(if $(PYTHON_VERSION),,$(error '$(PYTHON)' is missing or older than Python 3.11. \
		Name a newer one: make PYTHON=/path/to/python))
	$(PYTHON) -m venv --clear --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --constraint constraints.txt pip
	@touch $@

$(INSTALLED): $(CREATED) pyproject.toml constraints.txt
	$(BIN)/python -m pip install --constraint constraints.txt --build-constraint constraints.txt \
		--editable '.[all]' --group dev
	@touch $@

# Needs nothing but Python 3.11 or newer and make. Everything is installed into .venv.

VENV := .venv
BIN := $(VENV)/bin
# What is installed: the app and the example, and everything for development besides.
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

# Processes that run tests. The longest tests wait for a timeout, and use no processor meanwhile: with three
# for each of two cores, the others run in that time.
PROCESSES := 6

# A second environment, with the newest Django on a Python that is new enough for it.
NEWEST := .venv-newest
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions
NEWEST_PYTHONS = python3.14 python3.13 $(wildcard $(PYENV)/3.14*/bin/python $(PYENV)/3.13*/bin/python)
NEWEST_DOORS := http leaving streams logs lifecycle bounds
# In a browser: what stands in a page of Django's admin. The rest of the dashboard is of this app alone.
NEWEST_DASHBOARD := charts_follow_the_theme it_fits_a_telephone whoever_has_logged_out_is_told
NEWEST_TESTS := tests/browser/test_sessions.py $(NEWEST_DASHBOARD:%=tests/browser/test_dashboard.py::test_%) \
  tests/admin tests/test_checks.py $(NEWEST_DOORS:%=tests/doors/test_%.py)
# Of the doors the one that is Django's own handler, and no cluster.
NEWEST_CHOICE := not [view and not -view and not [mount and not -mount and not [postgresql

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles a module when it first imports it. To compile all of them takes half of an installation.
export PIP_NO_COMPILE := 1
# The tests start the same few programs a hundred times: not to be compiled anew each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-newest run-newest coverage docs soak fuzz bench bench-operations bench-security lint types

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

install: $(DEV_STAMP) ## make .venv and install everything into it (again only when something changed)

demo: $(STAMP) ## run the helpdesk example with its admin, a Celery worker and beat; PORT=8000
	@$(BIN)/python -m example_project.demo

test: $(DEV_STAMP) ## run every test; ARGS="-k worklist" for some of them, in one process
	$(BIN)/python -m pytest $(or $(ARGS),-n $(PROCESSES) --dist worksteal)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-newest)

test-newest: ## run what Django's version can change, on the newest Django and Python (part of make test)
	@for python in $(NEWEST_PYTHONS); do \
	  if $$python -c '' 2>/dev/null; then \
	    exec $(MAKE) --no-print-directory run-newest NEWEST_PYTHON="$$python"; \
	  fi; \
	done; \
	echo "The newest Django was not tried: that takes Python 3.13 or newer, on PATH or under pyenv." >&2; \
	[ "$$CI" != true ]

# sys.monitoring, which Python has from 3.12 on, counts lines at no cost that can be measured.
run-newest: export COVERAGE_CORE := sysmon
run-newest: $(NEWEST)/.installed
	$(NEWEST)/bin/python -m pytest -n 2 --dist worksteal $(NEWEST_TESTS) -k "$(NEWEST_CHOICE)" \
	  --cov=mcp_sessions --cov-report=
	@echo "Coverage: the tests on the newest Django (the admin, checks, and one entry point) run" \
	  "$$($(NEWEST)/bin/python -m coverage report --format=total) % of the app's lines in their own processes."

# Not a part of CI: on older Pythons counting lines costs two fifths of the tests' CPU time.
coverage: $(DEV_STAMP) ## print the lines that no test runs in its own process (takes longer than make test)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal --cov=mcp_sessions --cov-report=term-missing:skip-covered \
	  --ignore=tests/e2e --ignore=tests/example --ignore=tests/browser --ignore=tests/soak --ignore=tests/bench

docs: $(DEV_STAMP) ## make the documentation: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/. With its search, on http://127.0.0.1:8000: $(BIN)/python -m http.server -d site"

soak: $(DEV_STAMP) ## kill workers under many clients, nothing may be lost; SECONDS=60 SEED= WORKERS=3 REDIS=1 ...
	$(BIN)/python -m tests.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(STEPS),--steps $(STEPS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(CLIENTS),--clients $(CLIENTS)) \
	  $(if $(DATABASE),--database $(DATABASE)) $(if $(filter-out 0,$(REDIS)),--redis) \
	  $(if $(STORE),--store $(STORE)) $(if $(filter-out 0,$(BUSY)),--busy) \
	  $(if $(filter-out 0,$(CALM)),--calm) $(if $(FAULT),--fault $(FAULT)) $(if $(PATIENCE),--patience $(PATIENCE))

fuzz: $(DEV_STAMP) ## send the endpoint anything, guided by coverage; SECONDS=60 SEED= DIRECTORY=.fuzz
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),0) --directory $(or $(DIRECTORY),.fuzz)

bench: $(DEV_STAMP) ## measure the app beside the official SDK's own server; ARGS="echo opening" for some rows; MARKDOWN=1
	@$(BIN)/python -m tests.bench.speed $(ARGS) $(if $(filter-out 0,$(MARKDOWN)),--markdown)

bench-operations: $(DEV_STAMP) ## measure operators' work at a million sessions; SESSIONS= KEEP=1 MARKDOWN=1
	@$(BIN)/python -m tests.bench.operations $(if $(SESSIONS),--sessions $(SESSIONS)) \
	  $(if $(filter-out 0,$(KEEP)),--keep) $(if $(filter-out 0,$(MARKDOWN)),--markdown)

bench-security: $(DEV_STAMP) ## measure what a flood does to another client's calls, and a JWT to one; REQUESTS= HALF_OPEN= RATE= MARKDOWN=1
	@$(BIN)/python -m tests.bench.security $(if $(REQUESTS),--requests $(REQUESTS)) \
	  $(if $(HALF_OPEN),--half-open $(HALF_OPEN)) $(if $(RATE),--rate $(RATE)) \
	  $(if $(filter-out 0,$(MARKDOWN)),--markdown)

lint: $(DEV_STAMP) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP) ## check types
	$(BIN)/mypy

# --no-build-isolation builds with the setuptools that requirements.txt has just put there, so a
# second installation needs no network.
$(STAMP): requirements.txt setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing what the app and the example need into $(VENV). This happens once, and takes a minute or so."
	@$(BIN)/python -m pip install -r requirements.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(STAMP)
	@echo "Installing what tests, checks and docs need into $(VENV). This happens once, and takes a few minutes."
	@$(BIN)/python -m pip install -r requirements-dev.txt
	@touch $@

$(NEWEST)/bin/python:
	$(NEWEST_PYTHON) -m venv --clear $(NEWEST)

# Everything but what follows the tests' packages: linters and docs do not depend on Django's version.
$(NEWEST)/.installed: requirements.txt requirements-dev.txt setup.cfg pyproject.toml $(NEWEST)/bin/python
	sed -e '/^# Lint/,$$d' -e '/^-r /d' -e 's/^Django==/Django>=/' requirements.txt requirements-dev.txt \
	  > $(NEWEST)/requirements.txt
	$(NEWEST)/bin/python -m pip install --quiet -r $(NEWEST)/requirements.txt
	$(NEWEST)/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV), an environment of its own: $$python -m venv $(VENV)"; \
	    $$python -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer was found. Name one: make PYTHON=/path/to/python3.11" >&2; \
	exit 1

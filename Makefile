# Needs nothing but Python 3.11 or newer and make. Everything is installed into .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv and install everything into it (again only when something changed)

demo: $(STAMP) ## run the helpdesk example with its admin, a Celery worker and beat; PORT=8000
	@$(BIN)/python -m example_project.demo

test: $(STAMP) ## run every test; ARGS="-k worklist" for some of them
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## check types
	$(BIN)/mypy

# --no-build-isolation builds with the setuptools that requirements.txt has just put there, so a
# second installation needs no network.
$(STAMP): requirements.txt setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)"; \
	    $$python -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer was found. Name one: make PYTHON=/path/to/python3.11" >&2; \
	exit 1

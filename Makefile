.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help quickstart test test-slow lint bench

help: ## list these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/installed ## install, then train and evaluate the embedded default
	$(PYTHON) -m medgrpo

test: $(VENV)/installed-dev ## install what the tests need and run them
	$(PYTHON) -m pytest

test-slow: $(VENV)/installed-dev ## the tests that take minutes or extra packages
	$(PYTHON) -m pytest -m slow

lint: $(VENV)/installed-dev ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench: $(VENV)/installed-dev ## what the README claims about speed, measured here
	$(PYTHON) benchmarks/startup.py

$(VENV)/bin/python:
	python3 -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

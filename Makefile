.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints/cpu.txt

.PHONY: sync help quickstart test test-slow test-gpu-path test-matrix lint bench bench-scale gpu-check docs release

help: ## list these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/installed ## install, then train and evaluate the embedded default
	$(PYTHON) -m medgrpo

test: $(VENV)/installed-dev ## install what the tests need and run them
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/installed-dev ## the tests that take minutes or extra packages
	$(PYTHON) -m pytest -m slow

test-gpu-path: $(VENV)/installed-dev ## the real Unsloth, vLLM, llama.cpp and lm-eval on a CPU, in environments of their own
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m slow tests/gpu_path -n 2 --dist loadfile

test-matrix: ## the tests with the newest TRL, transformers and datasets that we take, in a venv of its own
	python3 -m venv .venv-matrix
	.venv-matrix/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' 'trl>=1.16,<1.17'
	.venv-matrix/bin/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed-dev ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench: $(VENV)/installed-dev ## every claim about speed, measured here in an hour (MODEL= PUBMEDQA= MEDQA= for all)
	$(PYTHON) benchmarks/all.py $(MODEL) $(PUBMEDQA) $(MEDQA)

bench-scale: $(VENV)/installed-dev ## how cost grows with rows, jobs, completions and prompts; a picture in bench/
	$(PYTHON) benchmarks/scale.py

gpu-check: $(VENV)/installed ## ten minutes on your GPU: each path in, pass or fail
	$(PYTHON) -m pip install --quiet -c constraints/unsloth-vllm.txt -e '.[unsloth,vllm]'
	$(PYTHON) benchmarks/gpu_check.py

docs: $(VENV)/installed-dev ## the documentation as pages, in site/; a dead link or a stale page is an error
	$(PIP_INSTALL) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' medgrpo/__init__.py)

release: lint $(VENV)/installed-dev ## build dist/, check it, and run the wheel in a venv of its own
	@grep -q '^## $(VERSION) ([0-9-]*)$$' CHANGELOG.md || { echo "CHANGELOG.md: no dated section for $(VERSION)"; exit 1; }
	@grep -q '^version: $(VERSION)$$' CITATION.cff || { echo "CITATION.cff: its version is not $(VERSION)"; exit 1; }
	rm -rf dist build/release
	$(PYTHON) -m hatchling build
	$(PIP_INSTALL) twine
	$(PYTHON) -m twine check --strict dist/*
	python3 -m venv build/release
	build/release/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/cpu.txt dist/*.whl
	cd build/release && bin/python -m medgrpo.doctor
	cd build/release && bin/python -m medgrpo trainer.args.max_steps=2 evaluation.limit=8 output_dir=run
	@echo "dist/ is ready: git tag v$(VERSION), then twine upload dist/*"

RUNS = $(wildcard $(SWEEP)/*/wandb/offline-run-* $(SWEEP)/wandb/offline-run-*)

sync: ## upload the offline W&B runs of a sweep or run: make sync SWEEP=multirun/...
	@test -n "$(SWEEP)" -a -n "$(RUNS)" || { echo "no offline runs in SWEEP=$(SWEEP)"; exit 2; }
	$(VENV)/bin/wandb sync --yes $(RUNS)

$(VENV)/bin/python:
	python3 -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints/cpu.txt
	@echo "installing into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.PHONY: install demo test test-slow check bench docs clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml $(wildcard src/shoebox/base/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: install
	$(BIN)/shoebox demo

test: install
	$(BIN)/python -m pytest --numprocesses 2

test-slow: install
	$(BIN)/python -m pytest -m slow --timeout 3600

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks

docs: install
	$(BIN)/python docs/write_help.py

clean:
	rm -rf $(VENV) build dist src/*.egg-info

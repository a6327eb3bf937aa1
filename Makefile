# Two commands, each complete on a bare machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two files at a time: XLA compiles on one core mostly. Fake devices are set by tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: demo test test-slow lint clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'edmf-jax needs Python 3.11 or newer: make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# make demo [SOURCE=folder or ZIP of the published EDMF pairs] [EDMF_ALLOW_MISSING=1] [WORKDIR=folder]
WORKDIR ?= work/demo
demo: $(VENV)/installed
	$(BIN)/edmf demo --workdir "$(WORKDIR)" $(if $(SOURCE),--source "$(SOURCE)") $(if $(filter 1,$(EDMF_ALLOW_MISSING)),--allow-missing)

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) work .pytest_cache .ruff_cache

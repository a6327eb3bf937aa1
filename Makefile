# Two commands, each complete on a bare machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two files at a time: XLA compiles on one core mostly. Fake devices are set by tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: demo test test-slow bench lint clean

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

# The report's page is tested in a browser where there is one or apt-get may bring one; elsewhere those tests skip.
$(VENV)/browser: $(VENV)/installed
	command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && timeout 600 sh -c \
	       'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium'; } \
	       > /dev/null 2>&1 || echo "no Chromium here: the tests of the report's page will be skipped"
	touch $@

test: $(VENV)/browser
	$(BIN)/ruff check .
	$(PYTEST) -m "not slow"

# Compiling for TPUs that are not here needs libtpu; beside the environment, because with it JAX would look for TPUs.
LIBTPU := $(VENV)/targets/libtpu/libtpu.so
$(VENV)/targets/done: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt --target $(VENV)/targets libtpu \
	  || echo "libtpu can't be installed here: the tests that compile for TPUs will be skipped"
	mkdir -p $(VENV)/targets && touch $@

test-slow: $(VENV)/targets/done
	LIBTPU="$(abspath $(LIBTPU))" $(PYTEST) -m slow

# make bench [BENCH="--quick --only training"]; beside PyTorch after: .venv/bin/pip install torch==2.13.0
bench: $(VENV)/installed
	$(BIN)/python -m benchmarks $(BENCH)

lint: $(VENV)/installed
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) work .pytest_cache .ruff_cache

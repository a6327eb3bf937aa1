# Two commands, each complete on a bare machine with Python 3.11 or 3.12: `make demo` and `make test`.
# Another Python than python3: `make test PYTHON=python3.12`; each version has an environment and constraints of its own.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c "import sys; print('%d.%d' % sys.version_info[:2])")
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(VERSION))
BIN := $(VENV)/bin
# Versions that the tests pass with; a Python without such a file gets the newest that pyproject.toml allows.
CONSTRAINTS := $(wildcard constraints-$(VERSION).txt)
PIP := $(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
# Two files at a time: XLA compiles on one core mostly. Fake devices and the order of files are set by tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow test-opencv4 bench device lint clean

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'edmf-jax needs Python 3.11 or newer: make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(PIP) --editable ".[dev]"
	$(BIN)/python -m compileall -q edmf_jax  # as pip does for a wheel: else every start compiles, if Python may write nothing
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

# Compiled the quickest way, or compiling would take most of the time: without LLVM's optimizer, and where XLA still has
# them (jaxlib 0.10) by its older emitters of loops, each program in one piece. XLA ends at a flag that it doesn't know,
# so one is tried first. test-slow compiles as users do.
QUICK := --xla_backend_optimization_level=0
QUICKER := --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
test: $(VENV)/browser
	$(BIN)/ruff check .
	flags="$(QUICK)"; \
	if (JAX_PLATFORMS=cpu XLA_FLAGS="$(QUICKER)" $(BIN)/python -c "import jax; jax.devices()") > /dev/null 2>&1; \
	then flags="$(QUICK) $(QUICKER)"; fi; \
	XLA_FLAGS="$$flags $(XLA_FLAGS)" $(PYTEST) -m "not slow"

# Compiling for TPUs and GPUs that are not here needs libtpu and JAX's CUDA plugin; beside the environment, because with
# them JAX would look for such devices.
LIBTPU := $(VENV)/targets/libtpu/libtpu.so
CUDA_PLUGIN := $(VENV)/targets/cuda
$(VENV)/targets/done: $(VENV)/installed
	$(PIP) --no-deps --target $(VENV)/targets libtpu \
	  || echo "libtpu can't be installed here: the tests that compile for TPUs will be skipped"
	version=$$($(BIN)/python -c "import jax; print(jax.__version__)") && \
	  $(PIP) --no-deps --target $(CUDA_PLUGIN) jax-cuda13-plugin==$$version jax-cuda13-pjrt==$$version \
	  || echo "JAX's CUDA plugin can't be installed here: the tests that compile for GPUs will be skipped"
	mkdir -p $(VENV)/targets && touch $@

test-slow: $(VENV)/targets/done test-opencv4
	LIBTPU="$(abspath $(LIBTPU))" CUDA_PLUGIN="$(abspath $(CUDA_PLUGIN))" $(PYTEST) -m slow

# The tests that read and write pictures, with the other major version of OpenCV (the constraints of Python 3.11 have 5).
$(VENV)/opencv4/done: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/opencv4 "opencv-python-headless==4.14.0.94"
	touch $@

test-opencv4: $(VENV)/opencv4/done
	PYTHONPATH="$(abspath $(VENV)/opencv4)" $(BIN)/python -c "import cv2; assert cv2.__version__.startswith('4.')"
	PYTHONPATH="$(abspath $(VENV)/opencv4)" $(PYTEST) tests/io tests/tfds_edmf/test_folders.py -m "not slow"

# make bench [BENCH="--quick --only training"]; beside PyTorch after: .venv/bin/pip install torch==2.13.0
bench: $(VENV)/installed
	$(BIN)/python -m benchmarks $(BENCH)

# make device [DEVICE="paper --source EDMF"]: fills .device for a machine with a GPU; docs/scaling.md, A prepared run
DEVICE ?= paper
device: $(VENV)/installed
	$(BIN)/python -m studies.device.prepare $(DEVICE)

lint: $(VENV)/installed
	$(BIN)/ruff check .

clean:
	rm -rf .venv .venv-* work .pytest_cache .ruff_cache

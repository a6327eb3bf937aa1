"""The paper's training step compiled for absent TPUs: it fits, copies no bank, and communicates once.

libtpu compiles for a described topology without a device.  It is looked for in LIBTPU (`make test-slow` sets it), in
TPU_LIBRARY_PATH and among the installed packages.  Each target is compiled in a process of its own, because a process
that has loaded libtpu looks for TPUs.  Each takes five CPU minutes.  GPUs are not among the targets: jaxlib for the
CPU has no compiler for them.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.files import ROOT

pytestmark = pytest.mark.slow
GB = 1e9
HANG_S = 7200  # no compilation takes that long unless it hangs
# Memory of one device [bytes], from Google's pages on TPU v5e and v6e.
MEMORY = {"v5e": 16 * 1024**3, "v6e": 32 * 1024**3}


def libtpu() -> str | None:
    found = importlib.util.find_spec("libtpu")
    paths = [os.environ.get("LIBTPU"), os.environ.get("TPU_LIBRARY_PATH"),
             found and Path(found.origin).with_name("libtpu.so")]
    return next((str(path) for path in paths if path and Path(path).is_file()), None)


@pytest.fixture(scope="module", params=["v5e:2x4", "v6e:2x4"])
def compiled(request, tmp_path_factory):
    """One target, and the record that tests/helpers/compile_for.py writes for it."""
    library = libtpu()
    if library is None:
        pytest.skip("libtpu is not here: pip install libtpu (or the extra tpu), or set TPU_LIBRARY_PATH")
    folder = tmp_path_factory.mktemp("target")
    environment = {**os.environ, "TPU_LIBRARY_PATH": library, "TPU_SKIP_MDS_QUERY": "1", "JAX_PLATFORMS": "cpu",
                   "XLA_FLAGS": "", "TPU_LOAD_LIBRARY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    script = ROOT / "tests" / "helpers" / "compile_for.py"
    done = subprocess.run([sys.executable, str(script), request.param, str(folder)], capture_output=True,
                          text=True, env=environment, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, json.loads((folder / "record.json").read_text())


def account(target: str, record: dict) -> str:
    memory = record["memory"]
    rest = memory["argument"] - record["bank"] - record["sources"] - 12 * record["parameters"]
    parts = {"bank": record["bank"], "sources": record["sources"], "parameters, Adam": 12 * record["parameters"],
             "orders, corners": rest, "activations": memory["temporary"], "program": memory["code"]}
    return f"{target}, bytes a device: " + ", ".join(f"{name} {size / GB:.3f} GB" for name, size in parts.items())


def test_the_step_fits_and_does_not_copy_the_bank(compiled):
    target, record = compiled
    print(account(target, record))
    memory = record["memory"]
    total = memory["argument"] + memory["output"] - memory["alias"] + memory["temporary"] + memory["code"]
    assert total < MEMORY[target.split(":")[0]], record
    # The bank is 34.8 GB in eight parts; everything else is small.
    assert record["bank"] == pytest.approx(34.8 * GB / 8, rel=0.01)
    assert memory["alias"] >= record["bank"]
    assert memory["temporary"] < record["bank"]


def test_devices_communicate_by_small_sums_alone(compiled):
    """The gradients' sums: no more than a few copies of the parameters, where a bank has 6,000 times their size.

    In how many operations XLA does that depends on its version.
    """
    _, record = compiled
    assert record["communication"].keys() == {"all-reduce"}
    assert 4 * record["parameters"] <= record["communication"]["all-reduce"] < 5 * 4 * record["parameters"]
    assert record["memory"]["host"] == 0


def test_only_the_network_has_convolutions(compiled):
    """12 layers, the gradients of their kernels, and of the inputs of all but the first; windows are products."""
    _, record = compiled
    assert record["convolution_groups"] == [1] * (12 + 12 + 11)

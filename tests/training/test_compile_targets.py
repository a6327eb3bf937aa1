"""The paper's training step compiled for absent TPUs and GPUs: it fits, copies no bank, and communicates once.

libtpu compiles for a described topology without a device.  It is looked for in LIBTPU (`make test-slow` sets it), in
TPU_LIBRARY_PATH and among the installed packages.  JAX's CUDA plugin compiles for a described GPU.  It is looked for
in CUDA_PLUGIN (`make test-slow` sets it: a folder of packages) and among the installed packages.  Each target is
compiled in a process of its own, because a process that has loaded either looks for devices.  A TPU takes five CPU
minutes, a GPU half a minute.
"""

import collections
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from tests.helpers import gpu_traffic
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
    return request.param, compile_for(folder, environment, request.param)


def compile_for(folder: Path, environment: dict[str, str], target: str, *overrides: str,
                script: str = "tests/helpers/compile_for.py") -> dict:
    done = subprocess.run([sys.executable, str(ROOT / script), target, str(folder), *overrides], capture_output=True,
                          text=True, env=environment, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "record.json").read_text())


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


# What the step on one GPU moves in float32 and bfloat16 (docs/scaling.md): GB by the compiled program, and kernels.
GPU_TARGETS = [("h200", "float32", 36.5, 190), ("h200", "bfloat16", 24, 190)]
SMALL_BYTES = 1e6  # of what is not a picture: parameters, their gradients, sums


def gpu_environment() -> dict[str, str]:
    """The environment of a process that compiles for a GPU; skips the test if it can't."""
    folder = os.environ.get("CUDA_PLUGIN", "")
    paths = [path for path in (folder, *sys.path) if path and Path(path, "jax_plugins", "xla_cuda13").is_dir()]
    if not paths:
        pytest.skip("JAX's CUDA plugin is not here: pip install --no-deps --target FOLDER jax-cuda13-plugin "
                    f"jax-cuda13-pjrt, both =={jax.__version__}, and set CUDA_PLUGIN=FOLDER")
    return {**os.environ, "PYTHONPATH": paths[0], "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


@pytest.fixture(scope="module", params=GPU_TARGETS, ids=lambda target: f"{target[0]} {target[1]}")
def compiled_for_gpu(request, tmp_path_factory):
    """One of `GPU_TARGETS`, its record, and its kernels."""
    environment, workdir = gpu_environment(), tmp_path_factory.mktemp("gpu")
    target, dtype, *_ = request.param
    record = compile_for(workdir, environment, target, f"--config.model.dtype={dtype}")
    return request.param, record, gpu_traffic.kernels((workdir / "program.txt").read_text())


def test_the_step_on_a_gpu_fits_and_does_not_copy_the_bank(compiled_for_gpu):
    (target, dtype, *_), record, kernels = compiled_for_gpu
    print(f"{target} {dtype}: " + account(target, record))
    memory = record["memory"]
    assert record["bank"] == pytest.approx(34.8 * GB, rel=0.01)
    assert memory["alias"] >= record["bank"] and memory["host"] == 0
    assert memory["argument"] + memory["output"] - memory["alias"] + memory["temporary"] < 42 * GB
    assert memory["temporary"] < (6 * GB if dtype == "float32" else 4 * GB)
    # One kernel reads the remembered planes, one writes the new ones in place.
    images = [kernel for kernel in kernels if kernel.bytes > record["bank"]]
    assert len(images) == 2, images
    assert record["communication"] == {}
    assert record["trip_counts"] == ["16"]  # the steps of a call; nothing else loops


def test_the_step_on_a_gpu_moves_no_more_than_it_did(compiled_for_gpu):
    (target, dtype, most_gb, most_kernels), record, kernels = compiled_for_gpu
    rest = [kernel for kernel in kernels if kernel.bytes < record["bank"]]
    moved = sum(kernel.bytes for kernel in rest) / GB
    print(f"{target} {dtype}: {moved:.1f} GB in {len(rest)} kernels")
    assert moved <= most_gb and len(rest) <= most_kernels


def test_a_gpu_has_the_convolutions_in_its_library_and_nothing_turned_around_them(compiled_for_gpu):
    """12 layers, of which three at full resolution are sums over two parts; windows are sums, not products."""
    _, record, kernels = compiled_for_gpu
    kinds = collections.Counter(kernel.kind for kernel in kernels)
    forward = kinds["__cudnn$convForward"] + kinds["__cudnn$convBiasActivationForward"]
    assert (forward, kinds["__cudnn$convBackwardFilter"], kinds["__cudnn$convBackwardInput"]) == (15, 15, 14)
    assert not [kind for kind in kinds if "gemm" in kind.lower() or "cublas" in kind.lower()]
    assert not [kernel for kernel in kernels if "gemm" in kernel.name]
    turned = [kernel for kernel in kernels if kernel.kind in ("copy", "transpose")
              or kernel.name.startswith(("wrapped_transpose", "wrapped_copy", "loop_transpose", "loop_copy"))]
    assert all(kernel.bytes < SMALL_BYTES or kernel.bytes > record["bank"] for kernel in turned), turned


def test_the_network_by_kernels_compiles_for_a_gpu_and_moves_less(tmp_path):
    """`studies/device/kernels`, prepared and not in use: no call of cuDNN is left, and no border or concatenation."""
    description = str(ROOT / "tests" / "helpers" / "h200.txtpb")
    record = compile_for(tmp_path, gpu_environment(), description, "bfloat16", script="studies/device/compiled.py")
    kernels = gpu_traffic.kernels((tmp_path / "program.txt").read_text())
    kinds = collections.Counter(kernel.kind for kernel in kernels)
    moved = sum(kernel.bytes for kernel in kernels) / GB
    print(f"network by kernels, bfloat16: {moved:.1f} GB in {len(kernels)} kernels")
    # 12 layers; 21 parts of their inputs, each with a weight gradient; 18 gradients of inputs, of 32 channels at most.
    assert kinds["__gpu$xla.gpu.triton"] == 12 + 21 + 18 and not [kind for kind in kinds if "cudnn" in kind]
    assert moved < 12.5 and record["temporary"] < 1.3 * GB  # the network in use: 14.4 GB, 2.1 GB

"""What a command imports: fusing photographs needs no JAX, whose import takes longer than fusing two small ones.

Nor what takes tens of milliseconds and is not used: no bar without a terminal, no reader of TIFFs without one.
And the command ends without taking apart what it has loaded.
"""

import os
import subprocess
import sys

import cv2
import numpy as np

HEAVY = ("jax", "flax", "optax", "orbax", "tensorflow", "scipy", "PIL.Image", "psutil", "onnxruntime",
         "tqdm", "tifffile", "platformdirs", "numpy.polynomial", "edmf_jax.registration.parallax",
         "edmf_jax.fusion.record")
CODE = """
import sys
from edmf_jax.cli.main import main
code = main(["fuse", "a.png", "b.png", "-o", "out.png"])
print(code, [name for name in {names} if name in sys.modules])
"""
AT_THE_END = """
import atexit, gc, sys
from edmf_jax.cli.main import entry

def tell():
    print("threadpoolctl" in sys.modules)
    from threadpoolctl import threadpool_info
    print({one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}, gc.isenabled())

atexit.register(tell)
sys.argv[1:] = ["fuse", "a.png", "b.png", "-o", "out.png"]
entry()
"""
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def two_photographs(folder, rng):
    picture = cv2.GaussianBlur(rng.random((120, 160, 3), np.float32), (0, 0), 1.5)
    picture = 255 * (picture - picture.min()) / np.ptp(picture)
    blurred = cv2.GaussianBlur(picture, (0, 0), 2)
    left = np.arange(160)[None, :, None] < 80
    for name, shot in (("a", np.where(left, picture, blurred)), ("b", np.where(left, blurred, picture))):
        cv2.imwrite(str(folder / f"{name}.png"), shot.astype(np.uint8))


def test_two_photographs_are_fused_without_heavy_imports(tmp_path, rng):
    two_photographs(tmp_path, rng)
    ran = subprocess.run([sys.executable, "-c", CODE.format(names=HEAVY)], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["out.png", "0 []"], ran.stderr
    assert cv2.imread(str(tmp_path / "out.png")).shape == (120, 160, 3)


def test_blas_starts_no_threads_and_what_is_registered_runs_at_the_end(tmp_path, rng):
    two_photographs(tmp_path, rng)
    free = {name: value for name, value in os.environ.items() if name not in BLAS_THREADS}
    ran = subprocess.run([sys.executable, "-c", AT_THE_END], cwd=tmp_path, capture_output=True, text=True, env=free)
    assert ran.stdout.splitlines() == ["out.png", "False", "{1} True"] and ran.returncode == 0, ran.stderr


def test_a_reader_that_is_gone_is_no_error_with_a_traceback(tmp_path, rng):
    two_photographs(tmp_path, rng)
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run([sys.executable, "-m", "edmf_jax.cli.main", "fuse", "a.png", "b.png", "-o", "out.png"],
                         cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr

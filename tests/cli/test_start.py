"""What a command imports: fusing photographs needs no JAX, whose import takes longer than fusing two small ones.

Nor what takes tens of milliseconds and is not used: no bar without a terminal, no reader of TIFFs without one.
"""

import subprocess
import sys

import cv2
import numpy as np

HEAVY = ("jax", "flax", "optax", "orbax", "tensorflow", "scipy", "PIL.Image", "psutil", "onnxruntime",
         "tqdm", "tifffile", "platformdirs")
CODE = """
import sys
from edmf_jax.cli.main import main
code = main(["fuse", "a.png", "b.png", "-o", "out.png"])
print(code, [name for name in {names} if name in sys.modules])
"""


def test_two_photographs_are_fused_without_heavy_imports(tmp_path, rng):
    picture = cv2.GaussianBlur(rng.random((120, 160, 3), np.float32), (0, 0), 1.5)
    picture = 255 * (picture - picture.min()) / np.ptp(picture)
    blurred = cv2.GaussianBlur(picture, (0, 0), 2)
    left = np.arange(160)[None, :, None] < 80
    for name, shot in (("a", np.where(left, picture, blurred)), ("b", np.where(left, blurred, picture))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), shot.astype(np.uint8))
    ran = subprocess.run([sys.executable, "-c", CODE.format(names=HEAVY)], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["out.png", "0 []"], ran.stderr
    assert cv2.imread(str(tmp_path / "out.png")).shape == (120, 160, 3)

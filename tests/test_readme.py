"""Runs the README's commands from top to bottom in one folder, as a reader would, and its Python."""

import re
import shlex
import shutil
import subprocess
import sys

import cv2
import jax
import numpy as np
import pytest

from edmf_jax.core.model import init_params, make_model
from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.weights.store import save_weights
from tests.helpers.environment import one_device
from tests.helpers.files import ROOT, SHARED

# What is added to commands that would take too long: the same commands on the tiny synthetic pairs.
SMALL = {
    "train": ["--config.data.dataset=edmf_synthetic/tiny", "--config.data.patches=16", "--config.data.patch_px=32",
              "--config.train.batch=8", "--config.train.epochs=1"],
    "evaluate": ["--limit", "1"],
}
# Commands that need more time or files than this test has → the test that covers them.
ELSEWHERE = {
    "make demo": "tests/cli/test_main.py::test_the_demo",
    "make test": "",  # runs all of this
    "edmf data build": "tests/tfds_edmf/test_edmf.py::test_every_layout_reads_alike",
    "edmf data pack": "tests/data/test_pack.py::test_the_command_packs_and_overwrites_nothing",
}


def shell_lines() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line.split(" #")[0].strip() for line in "".join(blocks).splitlines() if line.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data_dir):
    """A folder with what the README's commands name: two shots, a folder of near and far shots, weights."""
    folder = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(0)
    (folder / "DIR" / "near").mkdir(parents=True)
    (folder / "DIR" / "far").mkdir()
    (folder / "made").mkdir()
    # One scene, its left half in focus in one shot and its right half in the other.
    near = cv2.GaussianBlur(rng.integers(0, 256, (240, 320, 3), np.uint8), (9, 9), 2)
    near = cv2.normalize(near, None, 0, 255, cv2.NORM_MINMAX)
    blurred = cv2.GaussianBlur(near, (0, 0), 2)
    far = np.concatenate([blurred[:, :160], near[:, 160:]], 1)
    near = np.concatenate([near[:, :160], blurred[:, 160:]], 1)
    for name in ("A.jpg", "B.jpg", "A.png", "B.png", "FUSED.png", "DIR/near/1.jpg", "DIR/far/1.jpg"):
        cv2.imwrite(str(folder / name), near if name.endswith(("A.jpg", "A.png", "near/1.jpg")) else far)
    for name, width in (("DIR", 16), ("mufusion", 32)):
        params = jax.device_get(init_params(make_model(width), jax.random.key(0)))
        save_weights(folder / "made" / name, params, {"model": {"width": width, "dtype": "float32"}})
    for file in (folder / "made" / "DIR").iterdir():
        shutil.copy(file, folder / "DIR")
    open_dataset("edmf_synthetic/tiny", str(data_dir), log=lambda line: None)
    return folder


def small(words: list[str], data_dir) -> list[str]:
    """The command with the additions of `SMALL`, on the tiny data set."""
    words = [*words, *SMALL.get(words[1], [])]
    if words[1] == "train":
        words = [str(ROOT / w) if w.startswith("configs/") else w for w in words]
        words.append(f"--config.data.data_dir={data_dir}")
    if words[1] == "evaluate":
        # The tiles of MUFusion are 128 px: larger than the tiny pairs.
        words = [words[0], *("edmf_synthetic" if w == "edmf" else w for w in words[1:]), "--data-dir", str(data_dir)]
    return words


def test_the_tests_of_the_other_commands_exist():
    for test in filter(None, ELSEWHERE.values()):
        path, name = test.split("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_command_runs(folder, data_dir):
    ran = []
    for line in shell_lines():
        if any(line.startswith(start) for start in ELSEWHERE):
            continue
        words = small(shlex.split(line), data_dir)
        if "folder:their-pictures" in line:
            shutil.copytree(folder / "scores" / "average" / "fused", folder / "their-pictures")
        assert words[0] == "edmf", line
        if words[1] == "import-mufusion":
            if not (SHARED / "mufusion").exists():  # the authors' file is not part of the repository
                shutil.copytree(folder / "made" / "mufusion", folder / "mufusion")
                continue
            shutil.copy(SHARED / "mufusion" / "multi-focus.model", folder / words[2])
        result = subprocess.run([sys.executable, "-m", "edmf_jax.cli.main", *words[1:]], cwd=folder, text=True,
                                capture_output=True, timeout=600, env=one_device())
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        ran.append(words[1])
    assert set(ran) >= {"fuse", "train", "export", "metrics", "evaluate", "report"}


@pytest.mark.slow
def test_its_python_runs(folder, data_dir):
    fusing, loading = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    weights = str(folder / "made" / "mufusion")
    shots = {f"shot_{name.lower()}": cv2.imread(str(folder / f"{name}.png")) for name in "AB"}
    exec(fusing.replace('"mufusion"', repr(weights)), shots)
    assert shots["fused"].shape == (240, 320, 3)
    assert 'tfds.load("edmf", split="train")' in loading  # made-up files: tests/tfds_edmf/test_edmf.py
    synthetic = loading.replace('pairs = tfds.load("edmf", split="train")', "").replace(
        'tfds.load("edmf_synthetic"', f'tfds.load("edmf_synthetic/tiny", data_dir={str(data_dir)!r}')
    names = {}
    exec(synthetic, names)
    assert {"id", "source_a", "source_b", "truth"} <= set(names["synthetic"].element_spec)

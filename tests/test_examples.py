"""The examples, run as a reader would run them."""

import re
import subprocess
import sys

import cv2
import pytest

from tests.helpers.environment import one_device
from tests.helpers.files import ROOT


def run(folder, *words):
    result = subprocess.run([sys.executable, str(ROOT / "examples" / "fuse_shots.py"), *words], cwd=folder, text=True,
                            capture_output=True, timeout=600, env=one_device())
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_hand_held_shots_become_one_picture(tmp_path):
    printed = run(tmp_path)
    folder = tmp_path / "work" / "example"
    fused, sheet = (cv2.imread(str(folder / f"{name}.png")) for name in ("fused", "sheet"))
    assert sheet.shape[1] == 4 * fused.shape[1] and sheet.shape[0] == fused.shape[0] > 280
    against = {name: float(value) for name, value in re.findall(r"(\w+) against the truth: PSNR ([\d.]+)", printed)}
    assert against["fused"] > 26 and against["fused"] > max(against["near"], against["far"]) + 4
    # The measured exposure is that which the shots were made with.
    assert abs(float(re.search(r"far: ([+-][\d.]+) stops", printed)[1]) + 1.0) < 0.15
    for name in ("near", "far"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), sheet[:, : fused.shape[1]] if name == "near" else fused)
    run(tmp_path, "near.png", "far.png", "-o", "own")
    assert (tmp_path / "own" / "map.png").is_file()

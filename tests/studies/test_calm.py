"""The study of calmness: each of its numbers on pictures where it is known."""


import cv2
import numpy as np
import pytest

from edmf_jax.io.images import write_image
from studies import calm
from tests.helpers.scenes import defocused, scene

HEIGHT, WIDTH = 160, 220


@pytest.fixture
def stack():
    """Two shots in levels of luma: textured on the left, plain and faintly noisy on the right."""
    rng = np.random.default_rng(0)
    texture = 255 * scene(HEIGHT, WIDTH)[..., 0]
    ramp = np.clip((np.arange(WIDTH) - 80) / 40, 0, 1)[None]
    plain = (1 - ramp) * texture + ramp * 120
    return [np.float32(plain + rng.normal(0, 0.5, plain.shape)),
            np.float32(cv2.GaussianBlur(plain, (0, 0), 3) + rng.normal(0, 0.5, plain.shape))]


def test_the_sharp_shot_itself_is_calm_sharp_and_true(stack):
    uneven, new, sharp, drift = calm.qualities(stack[0], stack)
    assert 1 <= uneven < 1.3 and new == 0 and sharp > 0.98 and drift == 0


def test_blotches_a_halo_a_blur_and_a_drift_are_told_apart(stack):
    x = np.arange(WIDTH)
    blotched = stack[0] + np.float32(4 * np.sin(x / 4) * (x > 130))
    assert calm.qualities(blotched, stack)[0] > 2
    haloed = stack[0].copy()
    haloed[:, 150:158] += 40
    assert calm.qualities(haloed, stack)[1] > 5
    assert calm.qualities(stack[1], stack)[2] < 0.6
    assert calm.qualities(stack[0] + 9, stack)[3] == pytest.approx(9, abs=1)


def test_where_nothing_is_smooth_there_is_no_unevenness():
    detail = [np.float32(255 * np.random.default_rng(seed).random((40, 50))) for seed in (1, 2)]
    uneven, *others = calm.qualities(detail[0], detail)
    assert np.isnan(uneven) and np.isfinite(others).all()


def test_the_command_fuses_a_folder_by_every_program(tmp_path, capsys, monkeypatch):
    truth = scene(120, 160)
    for number, rows in enumerate((slice(0, 60), slice(60, 120))):
        write_image(tmp_path / f"{number}.png", np.rint(255 * defocused(truth, rows)).astype(np.uint8))
    monkeypatch.setattr(calm, "enfuse", lambda shots: np.mean(shots, 0).astype(np.uint8))
    monkeypatch.setattr(calm, "OpenFocus", lambda method: lambda shots: shots[method == "best"])
    calm.main([str(tmp_path), "--programs", "edmf", "enfuse", "openfocus:best", "--pictures", str(tmp_path / "out")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["edmf", "enfuse", "openfocus:best"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{tmp_path.name}-{program}.png" for program in ("edmf", "enfuse", "openfocus-best")]
    sharp = [float(line.split("|")[5]) for line in lines[2:]]
    assert sharp[0] > max(sharp[1:])

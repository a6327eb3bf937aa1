"""The blend on a device gives the picture of the CPU (here the device is XLA's CPU), and who asks for one gets it."""

import inspect
import math

import jax
import numpy as np
import pytest

from edmf_jax.cli import main
from edmf_jax.core import chooser_layout, reblurring
from edmf_jax.core.measuring import MARGIN_PX
from edmf_jax.core.piecewise import Place
from edmf_jax.errors import UserError
from edmf_jax.fusion.fuse import fuse
from edmf_jax.fusion.stack import PhotoOptions, device_choice, device_edges, device_pieces, fuse_photos, reblur, reduced
from edmf_jax.fusion.stack.chooser_engine import XlaEngine
from edmf_jax.fusion.stack.options import Chooser
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.io.images import write_image
from edmf_jax.runtime import devices
from tests.helpers.scenes import defocused, exposed, framed_with_black, shots

SIZE = 131, 203  # two pieces down and two across, in tests


@pytest.fixture
def device(monkeypatch):
    """A GPU that is the CPU, with pieces of 128 px."""
    monkeypatch.setattr(device_pieces, "SIDES_PX", (128,))
    monkeypatch.setattr(devices, "first_gpu", lambda: jax.devices("cpu")[1])


@pytest.fixture(scope="module")
def pictures():
    """Two shots, each blurred elsewhere, floats."""
    return shots(*SIZE)[1:]


def both(given, weights=None):
    """Results of the CPU and of the device."""
    return [fuse_photos(given, weights=weights, options=PhotoOptions(align="none", device=where))
            for where in ("cpu", "gpu")]


def assert_alike(on_cpu, on_device, full=255):
    assert on_cpu.device is None and on_device.device == "cpu"
    difference = np.abs(on_cpu.image.astype(float) - on_device.image) * (255 / full)
    assert (difference > 1).mean() < 1e-4 and (difference > 0).mean() < 1e-2
    assert (on_cpu.sources != on_device.sources).mean() < 1e-3
    assert np.mean(np.abs(on_cpu.confidence.astype(float) - on_device.confidence)) < 1e-3
    assert on_cpu.alone == on_device.alone
    if on_cpu.covered is not None:
        np.testing.assert_array_equal(on_cpu.covered, on_device.covered)


def holed(image):
    """A shot that lacks two sides and a hole."""
    mask = np.ones(SIZE, bool)
    mask[:9] = mask[:, -7:] = mask[60:70, 50:61] = False
    return Masked(image, mask)


@pytest.mark.slow
def test_two_shots_of_two_exposures_that_end_within_the_frame(device, pictures):
    a, b = pictures
    given = [exposed(a), holed(exposed(b, 0.5, 1.1))]
    on_cpu, on_device = both(given)
    assert_alike(on_cpu, on_device)
    lines = []
    whole = fuse([exposed(a), exposed(b)], "none", align="none", device="gpu", log=lines.append)
    assert lines[-1] == "the shots were blended on the device 'cpu'"
    assert np.abs(whole.astype(int) - fuse([exposed(a), exposed(b)], "none", align="none")).max() <= 1
    # Masks are painted on the CPU.
    retouched = fuse_photos(given, options=PhotoOptions(align="none", device="gpu"), layers=lambda *layer: None)
    device_choice.say_where(retouched, PhotoOptions(device="gpu"), lines.append)
    assert retouched.device is None and "blended on the CPU, as always with layers" in lines[-1]


@pytest.mark.slow
def test_five_shots_of_which_one_has_black_edges(device, pictures, monkeypatch):
    a, b = pictures
    columns = slice(30, 90), slice(80, 130), slice(120, 200)
    given = [exposed(a), framed_with_black(exposed(b, -0.4), 9, 5)] + [
        exposed(defocused(a, part), 0.1 * i) for i, part in enumerate(columns)]
    on_cpu, on_device = both(given)
    assert_alike(on_cpu, on_device)
    # Without room on the device, pieces are sent again, and edges are refined on the CPU.
    monkeypatch.setattr("edmf_jax.fusion.stack.device_blend.room_of", lambda _: 1e5)
    again = fuse_photos(given, options=PhotoOptions(align="none", device="gpu"))
    assert_alike(on_cpu, again)
    assert (again.image != on_device.image).mean() < 1e-4


@pytest.mark.slow
def test_gray_shots_of_16_bits(device, pictures):
    a, b = (np.rint(65535 * x[..., 0]).astype(np.uint16) for x in pictures)
    third = ((a.astype(np.uint32) + b) // 2).astype(np.uint16)
    assert_alike(*both([a, b, third]), full=65535)


@pytest.mark.slow
def test_the_network_that_chooses_runs_there(device, pictures, monkeypatch):
    rng = np.random.default_rng(0)
    params = {name: {"kernel": np.float32(0.3 * rng.standard_normal(shape) / np.sqrt(np.prod(shape[:3]))),
                     "bias": np.zeros(shape[-1], np.float32)}
              for name, shape in chooser_layout.kernel_shapes((6, 8)).items()}
    params["head"]["kernel"] *= 300
    monkeypatch.setattr(reduced, "factor_of", lambda shape, count: 2)
    network = Chooser("test", params, XlaEngine(params), "JAX")
    a, b = pictures
    given = [exposed(a), holed(exposed(b, 0.3))]
    on_cpu, on_device = both(given, network)
    assert_alike(on_cpu, on_device)
    assert (on_cpu.image != fuse_photos(given, options=PhotoOptions(align="none")).image).mean() > 0.01


def test_a_piece_has_the_frame_mirrored_around_it(rng):
    picture = rng.random((50, 70, 3))
    expected = np.pad(picture, ((MARGIN_PX,) * 2, (MARGIN_PX,) * 2, (0, 0)), mode="reflect")
    piece = 32, 32
    for at in device_pieces.places(picture.shape, piece):
        top, left = at.place[:2]
        height, width = (p.stop - p.start + 2 * MARGIN_PX for p in at.kept)
        found = device_pieces.cut(picture, at.place, piece)
        np.testing.assert_array_equal(found[:height, :width], expected[top : top + height, left : left + width])
    assert device_pieces.piece_shape((900, 4000)) == (1024, 1024) and device_pieces.piece_shape((90, 300)) == (128, 512)


def test_small_islands_are_those_that_connected_components_find(rng):
    best = (rng.random((60, 70)) > 0.55).astype(np.int32) + (rng.random((60, 70)) > 0.8)
    best[20:40, 10:50] = 1
    before = np.zeros_like(best)
    found = reblurring._islands(best, before, Place(reblurring._CHOICE_PX, reblurring._CHOICE_PX, 200, 200))
    weights = np.eye(3, dtype=np.float32)[best].transpose(2, 0, 1)
    np.testing.assert_array_equal(found, reblur._islands(weights, before))


def test_edges_have_the_same_numbers_there():
    for name in ("BLURS_PX", "ISLAND_PX", "CELL_PX", "_DEVIATION", "_NOISE", "_BAND_CELLS", "_AROUND_CELLS",
                 "_BLUR_CELLS", "_GATE_CELLS", "_FINE_PX", "_WIDE_PX", "_HIGH_GATE", "_ANTIALIAS_PX"):
        assert getattr(reblurring, name) == getattr(reblur, name), name
    assert "reblur.ROUNDS" in inspect.getsource(device_edges)


def test_it_pays_for_many_pixels(monkeypatch, pictures):
    asked = []
    monkeypatch.setattr(devices, "gpu_for", lambda device, pays: asked.append((device, pays)))
    assert 4 * 24e6 < device_choice.LEAST_PIXELS < 30 * 24e6
    for least in (device_choice.LEAST_PIXELS, 2 * math.prod(SIZE)):
        monkeypatch.setattr(device_choice, "LEAST_PIXELS", least)
        fuse([exposed(x) for x in pictures], "none", align="none", device="auto")
    assert asked == [("auto", False), ("auto", True)]


def test_one_that_is_asked_for_must_be_there(pictures, tmp_path, capsys):
    with pytest.raises(UserError, match="JAX finds no GPU here"):
        fuse([exposed(x) for x in pictures], "none", align="none", device="gpu")
    for name, picture in zip("ab", pictures):
        write_image(tmp_path / f"{name}.png", exposed(picture))
    given = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "out.png"), "--weights", "none"]
    assert main.main(["fuse", *given, "--device", "gpu"]) == 2
    assert "--device gpu: JAX finds no GPU here" in capsys.readouterr().err
    with pytest.raises(UserError, match="device='tpu' is unknown"):
        PhotoOptions(device="tpu").check()

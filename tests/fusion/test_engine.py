"""ONNX Runtime in JAX's place: the same picture, used only where it is asked for, and named in the log."""

import numpy as np
import pytest

from edmf_jax.fusion import engine, tiling
from edmf_jax.weights.store import load_pretrained

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def weights():
    return load_pretrained("edmf")


def planes(height, width):
    return np.random.default_rng(7).random((2, height, width), np.float32)


@pytest.mark.parametrize("size", [(16, 16), (37, 50)])
def test_a_piece_is_the_same_in_both(weights, size):
    a, b = planes(*size)
    args = weights.model, weights.params, a, b, tiling.padded_shape(size, 92)
    expected, lines = tiling.fuse_piece(*args), []
    with engine.fastest(lines.append):
        found, again = tiling.fuse_piece(*args), tiling.fuse_piece(*args)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found, again)
    assert (found != expected).any()  # or the same engine ran twice
    assert [line.split("ONNX Runtime")[0] for line in lines] == ["the network runs in "]
    np.testing.assert_array_equal(tiling.fuse_piece(*args), expected)


def test_mufusions_tiles_are_the_same_in_both(weights):
    args = weights.model, weights.params, *planes(130, 128)
    expected = tiling.fuse_mufusion(*args)
    with engine.fastest(lambda line: None):
        np.testing.assert_allclose(tiling.fuse_mufusion(*args), expected, atol=1e-5)


def test_without_the_package_or_in_another_precision_jax_runs(weights, monkeypatch):
    lines = []
    with engine.fastest(lines.append):
        assert engine.onnx_session(weights.model.clone(dtype=np.dtype("float64")), weights.params) is None
        monkeypatch.setattr(engine, "_is_installed", lambda: False)
        assert engine.onnx_session(weights.model, weights.params) is None
    assert [line.split(", ")[0] for line in lines] == ["the network runs in JAX"] * 2

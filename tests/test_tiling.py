"""Weights on pictures of any size: padding and cutting change nothing, MUFusion's tiles are those of its authors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import nest, shared_file

from edmf_jax import tiling
from edmf_jax.color import luma
from edmf_jax.errors import UserError
from edmf_jax.framed import MARGIN_PX, fuse_framed
from edmf_jax.fusion import fuse
from edmf_jax.images import read_image
from edmf_jax.model import fuse_luma, init_params, make_model
from edmf_jax.tiling import fuse_levels, fuse_mufusion, fuse_whole, tile_starts
from edmf_jax.weights import Weights

MODEL = make_model(2)
PARAMS = jax.tree.map(lambda x: 0.3 * np.random.default_rng(x.size).standard_normal(x.shape).astype(np.float32),
                      jax.eval_shape(lambda key: init_params(MODEL, key), jax.random.key(0)))


def planes(height, width, seed=0):
    return np.random.default_rng(seed).random((2, height, width), np.float32)


LIGHTLY = {"static_argnums": 0, "compiler_options": {"xla_backend_optimization_level": 0}}
run_plainly, run_framed = jax.jit(fuse_luma, **LIGHTLY), jax.jit(fuse_framed, **LIGHTLY)


def plainly(a, b):
    """The network on the whole picture, as `fuse` calls it."""
    return np.asarray(run_plainly(MODEL, PARAMS, a[None], b[None]))[0]


@pytest.fixture(autouse=True)
def compile_lightly(monkeypatch):
    monkeypatch.setattr(tiling, "_fuse_framed", run_framed)
    monkeypatch.setattr(tiling, "_fuse_tiles", run_plainly)


@pytest.mark.parametrize("size", [(16, 16), (17, 20), (31, 44), (44, 43)])
def test_what_lies_beyond_a_picture_is_never_seen(size):
    a, b = planes(*size)
    padded = planes(48, 48, seed=1)[:, None]
    padded[:, 0, : size[0], : size[1]] = a, b
    fused = np.asarray(run_framed(MODEL, PARAMS, *padded, *size))[0]
    assert np.isfinite(fused).all() and max(size) <= 48 - MARGIN_PX
    np.testing.assert_allclose(fused[: size[0], : size[1]], plainly(a, b), atol=2e-6)


def test_one_compile_serves_every_size():
    padded = planes(48, 48)[:, None]
    counts = []
    for size in ((20, 30), (33, 21), (44, 44)):
        run_framed(MODEL, PARAMS, *padded, *size)
        counts.append(run_framed._cache_size())
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("size", [(131, 140), (61, 259)])
def test_large_pictures_are_cut_exactly(monkeypatch, size):
    monkeypatch.setattr(tiling, "LARGEST_PX", 92)
    a, b = planes(*size)
    whole = fuse_whole(MODEL, PARAMS, a, b)
    np.testing.assert_allclose(whole, plainly(a, b), atol=2e-6)
    assert whole.std() > 0.01


@pytest.mark.parametrize("largest_px", [50, 64, 110])
def test_the_size_of_the_pieces_changes_nothing(largest_px):
    a, b = planes(113, 147)
    np.testing.assert_allclose(fuse_whole(MODEL, PARAMS, a, b, largest_px), plainly(a, b), atol=2e-6)


@pytest.mark.parametrize("length", [1, 16, 91, 92, 93, 136, 137, 180, 1000])
def test_pieces_cover_a_side_once(length):
    covered = []
    for piece, kept in tiling.pieces(length, 92):
        assert piece.start % 2 == 0 and 0 <= piece.start <= kept.start < kept.stop <= piece.stop <= length
        assert piece.stop - piece.start <= 92
        covered += range(kept.start, kept.stop)
    assert covered == list(range(length))


def test_whole_is_what_fuse_gives():
    weights = Weights(PARAMS, {"model": {"width": 2, "dtype": "float32"}}, "small")
    a, b = np.random.default_rng(1).integers(0, 256, (2, 37, 42, 3), np.uint8)
    ours, theirs = fuse_levels(MODEL, PARAMS, a, b), fuse([a, b], weights=weights, preset="paper")
    assert ours.dtype == np.uint8 and ours.shape == a.shape and ours.std() > 1
    difference = np.abs(ours.astype(int) - theirs)  # a value at a half may fall either way
    assert difference.max() <= 1 and np.mean(difference > 0) < 0.001
    gray = fuse_levels(MODEL, PARAMS, a[..., 0], b[..., 0])
    np.testing.assert_array_equal(gray, np.rint(255 * plainly(a[..., 0] / 255, b[..., 0] / 255).clip(0, 1)))


@pytest.mark.parametrize("size", [(128, 128), (129, 252), (253, 140)])
def test_mufusions_tiles_are_those_of_the_plain_definition(size):
    a, b = planes(*size)
    height, width = size
    rows = [i for i in range(height) if i % 124 == 0 and i + 128 <= height]
    columns = [j for j in range(width) if j % 124 == 0 and j + 128 <= width]
    corners = [(i, j) for i in rows for j in columns] + [(i, width - 128) for i in rows]
    corners += [(height - 128, j) for j in columns] + [(height - 128, width - 128)]
    total, count = np.zeros(size), np.zeros(size)
    for i, j in corners:
        total[i : i + 128, j : j + 128] += plainly(a[i : i + 128, j : j + 128], b[i : i + 128, j : j + 128])
        count[i : i + 128, j : j + 128] += 1
    np.testing.assert_allclose(fuse_mufusion(MODEL, PARAMS, a, b), total / count, atol=2e-6)


def test_tile_starts():
    assert tile_starts(128) == [0, 0]
    assert tile_starts(252) == [0, 124, 124]
    assert tile_starts(300) == [0, 124, 172]


def test_published_mufusion_in_its_tiles():
    # The authors' own program in float64: ../shared/comparators/golden/MUFusion/README.md
    golden = np.load(shared_file("comparators/golden/MUFusion/lytro-01-y255-roi.npz"))["y255"]
    inputs = [shared_file(f"comparators/golden/inputs/lytro-01-{s}.png") for s in "AB"]
    a, b = (luma(read_image(path).astype(np.float32) / 255) for path in inputs)
    with np.load(shared_file("mufusion/multi-focus.npz")) as arrays:
        fused = fuse_mufusion(make_model(32), nest(dict(arrays)), a, b)
    np.testing.assert_allclose(255 * fused[64:192, 64:192], golden, atol=2e-3)


@pytest.mark.parametrize(("size", "name", "words"), [((127, 300), "mufusion", "at least 128×128 px, these are 300×127"),
                                                     ((15, 300), "whole", "at least 16×16 px")])
def test_too_small_pictures_are_named(size, name, words):
    a = np.zeros(size, np.uint8)
    with pytest.raises(UserError, match=words):
        fuse_levels(MODEL, PARAMS, a, a, name)


def test_too_little_memory_is_one_line(monkeypatch):
    def fail(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(tiling, "_fuse_framed", fail)
    a = np.zeros((20, 20), np.uint8)
    with pytest.raises(UserError, match="20×20 px take more memory than there is"):
        fuse_levels(MODEL, PARAMS, a, a)


def test_params_may_be_on_a_device():
    a, b = planes(30, 31)
    on_device = fuse_whole(MODEL, jax.tree.map(jnp.asarray, PARAMS), a, b)
    np.testing.assert_array_equal(on_device, fuse_whole(MODEL, PARAMS, a, b))

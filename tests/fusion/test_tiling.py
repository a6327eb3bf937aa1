"""The network on pictures of any size: padding and cutting have no effect; MUFusion's tiles are its authors'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.color import luma
from edmf_jax.core.model import make_model
from edmf_jax.core.padded import MARGIN_PX
from edmf_jax.errors import UserError
from edmf_jax.fusion import engine, tiling
from edmf_jax.fusion.fuse import fuse
from edmf_jax.fusion.stack import PhotoOptions, fuse_photos, tiles
from edmf_jax.fusion.tiling import fuse_levels, fuse_mufusion, fuse_whole, tile_starts
from edmf_jax.io.images import read_image
from edmf_jax.weights.store import Weights
from tests.helpers.files import nest, shared_file
from tests.helpers.networks import FAST_COMPILE, MODEL, PARAMS, WEIGHTS, run_padded, run_unpadded


def planes(height, width, seed=0):
    return np.random.default_rng(seed).random((2, height, width), np.float32)


def in_one_piece(a, b):
    """The network on the whole picture in one piece, not padded."""
    return np.asarray(run_unpadded(MODEL, PARAMS, a[None], b[None]))[0]


@pytest.fixture(autouse=True)
def compile_lightly(monkeypatch):
    monkeypatch.setattr(tiling, "_fuse_padded", run_padded)
    monkeypatch.setattr(tiling, "_fuse_tiles", run_unpadded)
    monkeypatch.setattr(tiling, "_fuse_several", run_several)


run_several = jax.jit(tiling._fuse_several.__wrapped__, **FAST_COMPILE)


@pytest.fixture
def batches(monkeypatch):
    """As on an accelerator, three pieces at once; the list of how many pieces, of which shape, each batch has."""
    sent, send = [], tiling._send

    def note(model, params, batch, shape, at_once):
        sent.append((len(batch), shape))
        return send(model, params, batch, shape, at_once)

    monkeypatch.setattr(tiling, "_send", note)
    monkeypatch.setattr(engine, "pieces_at_once", lambda: 3)
    return sent


@pytest.mark.parametrize("size", [(16, 16), (17, 20), (31, 44), (44, 43)])
def test_padding_has_no_effect(size):
    a, b = planes(*size)
    padded = planes(48, 48, seed=1)[:, None]
    padded[:, 0, : size[0], : size[1]] = a, b
    fused = np.asarray(run_padded(MODEL, PARAMS, *padded, *size))[0]
    assert np.isfinite(fused).all() and max(size) <= 48 - MARGIN_PX
    np.testing.assert_allclose(fused[: size[0], : size[1]], in_one_piece(a, b), atol=2e-6)


def test_one_compile_serves_every_size():
    padded = planes(48, 48)[:, None]
    counts = []
    for size in ((20, 30), (33, 21), (44, 44)):
        run_padded(MODEL, PARAMS, *padded, *size)
        counts.append(run_padded._cache_size())
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("size", [(131, 140), (61, 259)])
def test_large_pictures_are_cut_exactly(monkeypatch, size):
    monkeypatch.setattr(tiling, "LARGEST_PX", 92)
    a, b = planes(*size)
    whole = fuse_whole(MODEL, PARAMS, a, b)
    np.testing.assert_allclose(whole, in_one_piece(a, b), atol=2e-6)
    assert whole.std() > 0.01


@pytest.mark.parametrize("largest_px", [50, 64, 110])
def test_the_size_of_the_pieces_changes_nothing(largest_px):
    a, b = planes(113, 147)
    np.testing.assert_allclose(fuse_whole(MODEL, PARAMS, a, b, largest_px), in_one_piece(a, b), atol=2e-6)


def one_by_one(monkeypatch):
    monkeypatch.setattr(engine, "pieces_at_once", lambda: 1)


def test_an_accelerator_takes_several_pieces_at_once(batches, monkeypatch):
    a, b = planes(100, 60)
    together = fuse_whole(MODEL, PARAMS, a, b, 60)
    assert batches == [(3, (64, 64)), (2, (64, 64))] and together.std() > 0.01
    one_by_one(monkeypatch)
    np.testing.assert_allclose(together, fuse_whole(MODEL, PARAMS, a, b, 60), atol=2e-6)


def test_pictures_of_several_sizes_share_batches(batches, monkeypatch):
    """The padded shape decides which pieces go together; the last batch has empty places."""
    pairs = [np.random.default_rng(seed).integers(0, 256, (2, *size), np.uint8)
             for seed, size in enumerate([(60, 60), (59, 57), (57, 60), (58, 59)])]
    together = tiling.fuse_levels_of(pairs, MODEL, PARAMS)
    assert batches == [(3, (64, 64)), (1, (64, 64))]
    one_by_one(monkeypatch)
    for pair, fused in zip(pairs, together):
        difference = np.abs(fused.astype(int) - fuse_levels(MODEL, PARAMS, *pair))
        assert fused.std() > 1 and difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_the_next_pieces_are_taken_while_some_are_computed(batches):
    taken = []

    def given():
        for number in range(10):
            taken.append(number)
            yield planes(20, 23 + number, number)

    fused = tiling.fuse_pieces(MODEL, PARAMS, given(), (64, 64))
    first = next(fused)
    assert taken == list(range(6)) and batches == [(3, (64, 64))] * 2
    fused = [first, *fused]
    assert len(fused) == 10 and batches[3] == (1, (64, 64))
    for number, plane in enumerate(fused):
        expected = tiling.fuse_piece(MODEL, PARAMS, *planes(20, 23 + number, number), (64, 64))
        np.testing.assert_allclose(plane, expected, atol=2e-6)


def test_pixels_of_the_network_are_the_same_from_batches(batches, monkeypatch):
    shots = list(np.random.default_rng(5).integers(60, 200, (2, 60, 90), np.uint8))
    monkeypatch.setattr(tiles, "NETWORK_TILE_PX", 60)
    options = PhotoOptions(align="none", pixels="network")
    together = fuse_photos(shots, weights=WEIGHTS, options=options)
    assert batches == [(3, (64, 64)), (1, (64, 64))]
    one_by_one(monkeypatch)
    alone = fuse_photos(shots, weights=WEIGHTS, options=options)
    assert np.abs(together.image.astype(int) - alone.image).max() <= 1 and together.image.std() > 1
    np.testing.assert_array_equal(together.sources, alone.sources)


@pytest.mark.parametrize("length", [1, 16, 91, 92, 93, 136, 137, 180, 1000])
def test_pieces_cover_a_side_once(length):
    covered = []
    for piece, kept in tiling.pieces(length, 92):
        assert piece.start % 2 == 0 and 0 <= piece.start <= kept.start < kept.stop <= piece.stop <= length
        assert piece.stop - piece.start <= 92
        covered += range(kept.start, kept.stop)
    assert covered == list(range(length))


def test_whole_is_what_preset_paper_gives():
    weights = Weights(PARAMS, {"model": {"width": 2, "dtype": "float32"}}, "small")
    a, b = np.random.default_rng(1).integers(0, 256, (2, 37, 42, 3), np.uint8)
    ours, theirs = fuse_levels(MODEL, PARAMS, a, b), fuse([a, b], weights=weights, preset="paper")
    assert ours.dtype == np.uint8 and ours.shape == a.shape and ours.std() > 1
    np.testing.assert_array_equal(ours, theirs)
    gray = fuse_levels(MODEL, PARAMS, a[..., 0], b[..., 0])
    np.testing.assert_array_equal(gray, np.rint(255 * in_one_piece(a[..., 0] / 255, b[..., 0] / 255).clip(0, 1)))


@pytest.mark.parametrize("size", [(128, 128), (129, 252), (253, 140)])
def test_mufusions_tiles_follow_their_definition(size):
    a, b = planes(*size)
    height, width = size
    rows = [i for i in range(height) if i % 124 == 0 and i + 128 <= height]
    columns = [j for j in range(width) if j % 124 == 0 and j + 128 <= width]
    corners = [(i, j) for i in rows for j in columns] + [(i, width - 128) for i in rows]
    corners += [(height - 128, j) for j in columns] + [(height - 128, width - 128)]
    total, count = np.zeros(size), np.zeros(size)
    for i, j in corners:
        total[i : i + 128, j : j + 128] += in_one_piece(a[i : i + 128, j : j + 128], b[i : i + 128, j : j + 128])
        count[i : i + 128, j : j + 128] += 1
    np.testing.assert_allclose(fuse_mufusion(MODEL, PARAMS, a, b), total / count, atol=2e-6)


def test_tile_starts():
    assert tile_starts(128) == [0, 0]
    assert tile_starts(252) == [0, 124, 124]
    assert tile_starts(300) == [0, 124, 172]


def test_published_mufusion_in_its_tiles():
    # Golden values of the authors' own program, in float64.
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

    monkeypatch.setattr(tiling, "_fuse_padded", fail)
    a = np.zeros((20, 20), np.uint8)
    with pytest.raises(UserError, match="20×20 px take more memory than there is"):
        fuse_levels(MODEL, PARAMS, a, a)


def test_params_may_be_on_a_device():
    a, b = planes(30, 31)
    on_device = fuse_whole(MODEL, jax.tree.map(jnp.asarray, PARAMS), a, b)
    np.testing.assert_array_equal(on_device, fuse_whole(MODEL, PARAMS, a, b))

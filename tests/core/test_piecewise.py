"""Parts of pictures in larger arrays give what OpenCV gives for the pictures themselves."""

import jax
import numpy as np
import pytest

from edmf_jax.core import piecewise
from edmf_jax.fusion.stack import choice, evidence, holes

ROOM = 24, 32  # one shape, so one program, for all sizes
SIZES = [(17, 23), (5, 32), (1, 7), (24, 16)]


def in_room(picture, beyond):
    """`picture` `[..., h, w]` at the top left of a larger array that holds `beyond` elsewhere."""
    whole = np.full((*picture.shape[:-2], *ROOM), beyond, picture.dtype)
    whole[..., : picture.shape[-2], : picture.shape[-1]] = picture
    return whole


@pytest.mark.parametrize("size", SIZES)
def test_holes_are_filled_as_on_the_cpu(size, rng):
    picture, known = rng.random((*size, 3)).astype(np.float32), rng.random(size) > 0.6
    known[0, 0] = True
    found = jax.jit(piecewise.filled)(in_room(np.moveaxis(picture, -1, 0), 99), in_room(known, True), size)
    np.testing.assert_allclose(np.moveaxis(found, 0, -1)[: size[0], : size[1]], holes.fill(picture, known), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_shares_are_spread_as_on_the_cpu(size, rng):
    certainty = (rng.random(size) ** 4 + 1e-4).astype(np.float32)
    known = rng.random(size).astype(np.float32) * certainty
    whole = choice.Choice((4 * size[0], 4 * size[1]))
    whole._cells = [certainty]
    while min(whole._cells[-1].shape) > 2:
        whole._cells.append(evidence.cell_means(whole._cells[-1], 2))
    found = jax.jit(piecewise.pulled_and_pushed)(in_room(known, 7), in_room(certainty, np.float32(0.5)), size)
    np.testing.assert_allclose(found[: size[0], : size[1]], whole._spread(known), atol=1e-6)


def test_positions_beyond_the_edge_are_mirrored_as_often_as_it_takes():
    for size in (1, 2, 5):
        expected = np.pad(np.arange(size), 9, mode="reflect") if size > 1 else np.zeros(19)
        np.testing.assert_array_equal(piecewise.mirrored(np.arange(-9, size + 9), size), expected)


def test_cells_are_enlarged_as_on_the_cpu(rng):
    cells = rng.random((6, 7)).astype(np.float32)
    expected = evidence.enlarged(cells, (slice(8, 40), slice(8, 48)), 8)
    np.testing.assert_allclose(piecewise.enlarged(cells, 8), expected, atol=1e-6)


def test_means_of_cells_repeat_what_a_picture_ends_with(rng):
    picture = rng.random((21, 30)).astype(np.float32)
    whole = piecewise.repeated(in_room(picture, np.float32(9)), picture.shape)
    np.testing.assert_allclose(piecewise.cell_means(whole, 8)[:3, :4], evidence.cell_means(picture, 8), atol=1e-6)


def test_windows_are_correlations(rng):
    plane, mask = rng.random((2, 20, 30)).astype(np.float32), rng.random((20, 30)) > 0.1
    windows = np.lib.stride_tricks.sliding_window_view(plane, (5, 5), (-2, -1))
    np.testing.assert_allclose(piecewise.windowed(plane, piecewise.box_taps(5)), windows.mean((-2, -1)), atol=1e-6)
    expected = np.lib.stride_tricks.sliding_window_view(mask, (5, 5)).all((-2, -1))
    np.testing.assert_array_equal(piecewise.eroded(mask, 2), expected)
    np.testing.assert_allclose(piecewise.box_taps(3, 2), np.array([1, 2, 3, 2, 1]) / 9)

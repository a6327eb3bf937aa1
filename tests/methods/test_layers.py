"""Layers on padded pictures against NumPy and SciPy on the picture alone; pieces that cover a side once."""

import numpy as np
import pytest
import scipy.ndimage

from edmf_jax.core.valid_size import ValidSize
from edmf_jax.methods import layers
from edmf_jax.methods.pieces import outputs_of_pieces, pieces, run_in_pieces

HEIGHT, WIDTH = 7, 9
SIZE = ValidSize(HEIGHT, WIDTH)


@pytest.fixture
def picture(rng):
    return rng.standard_normal((2, HEIGHT, WIDTH, 3)).astype(np.float32)


def padded(picture, before=0):
    """The picture in a larger array of other numbers."""
    array = np.full((len(picture), HEIGHT + before + 4, WIDTH + before + 5, 3), 7, np.float32)
    array[:, before : before + HEIGHT, before : before + WIDTH] = picture
    return array


@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("start", [1, 2])
def test_the_border_is_that_of_the_picture_alone(picture, mode, start):
    filled = np.asarray(layers.fill_border(padded(picture, start), SIZE, mode, start))
    expected = np.pad(picture, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
    around = slice(start - 1, start + HEIGHT + 1), slice(start - 1, start + WIDTH + 1)
    np.testing.assert_array_equal(filled[:, *around], expected)


def test_edges_are_repeated_all_around(picture):
    repeated = np.asarray(layers.repeat_edge(padded(picture), SIZE, 3))
    expected = np.pad(picture, ((0, 0), (3, 7), (3, 8), (0, 0)), mode="edge")
    np.testing.assert_array_equal(repeated, expected)


def test_zeros_and_means_ignore_the_padding(picture):
    zeroed = layers.zero_beyond(padded(picture), SIZE)
    np.testing.assert_array_equal(zeroed, np.pad(picture, ((0, 0), (0, 4), (0, 5), (0, 0))))
    np.testing.assert_allclose(layers.true_mean(zeroed, SIZE), picture.mean((1, 2)), rtol=1e-5)


def test_box_sums_and_differences_take_zeros_outside(picture):
    sums = np.asarray(layers.box_sum(padded(picture), 5, SIZE))[:, :HEIGHT, :WIDTH]
    expected = 25 * scipy.ndimage.uniform_filter(picture.astype(float), (0, 5, 5, 0), mode="constant")
    np.testing.assert_allclose(sums, expected, atol=1e-4)
    found = np.asarray(layers.squared_differences(padded(picture)))[:, :HEIGHT, :WIDTH]
    around = np.pad(picture, ((0, 0), (1, 0), (1, 0), (0, 0)))
    expected = (around[:, 1:, :-1] - picture) ** 2 + (around[:, :-1, 1:] - picture) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [1, 15, 32, 33, 47, 100, 101])
def test_pieces_cover_a_side_once_and_end_far_enough_inside(length, stride):
    covered = np.zeros(length, int)
    for piece, kept in pieces(length, 32, 5, stride):
        covered[kept] += 1
        assert piece.stop - piece.start <= 32 and piece.start % stride == kept.start % stride == 0
        assert kept.start - piece.start >= 5 or piece.start == 0
        assert piece.stop - kept.stop >= 5 or piece.stop == length
    np.testing.assert_array_equal(covered, 1)


def test_a_local_function_in_pieces_is_that_of_the_whole(rng):
    images = rng.random((2, 61, 45, 1)).astype(np.float32)

    def blur(x, height, width):
        return scipy.ndimage.uniform_filter(x[0, :height, :width, 0] + x[1, :height, :width, 0], 7, mode="nearest")

    whole = blur(images, 61, 45)
    np.testing.assert_allclose(run_in_pieces(blur, images, reach_px=3, largest_px=20), whole, rtol=1e-6)
    assert sum(piece.size for _, piece in outputs_of_pieces(blur, images, reach_px=3, largest_px=20)) == whole.size

"""The grid of tiles: it covers the picture, and its means, masks and cuts are those of plain loops."""

import numpy as np
import pytest

from edmf_jax.registration.correlation import hann_window
from edmf_jax.registration.grid import TileGrid

SHAPES = [(70, 90), (259, 301), (480, 2000), (1200, 1600), (33, 40), (20, 50), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_reach_from_edge_to_edge_and_overlap(shape):
    grid = TileGrid.of((*shape, 3))
    assert grid.shape == shape and 1 <= grid.size <= min(64, *shape)
    assert grid.size >= min(32, *shape)
    assert len(grid.tops) * len(grid.lefts) <= 400
    for starts, length in ((grid.tops, shape[0]), (grid.lefts, shape[1])):
        assert starts[0] == 0 and (len(starts) == 1 or starts[-1] in (length - grid.size, length - grid.size - 1))
        assert not (starts % 2).any()
        if len(grid.tops) * len(grid.lefts) < 300:
            assert (np.diff(starts) <= grid.size).all()


def test_origins_go_row_by_row():
    grid = TileGrid((50, 60), 20, np.array([0, 30]), np.array([0, 15, 40]))
    np.testing.assert_array_equal(grid.origins, [[0, 0], [15, 0], [40, 0], [0, 30], [15, 30], [40, 30]])


@pytest.mark.parametrize("shape", SHAPES[:2] + SHAPES[4:])
def test_means_equal_a_plain_loop(rng, shape):
    grid, plane = TileGrid.of(shape), rng.random(shape, np.float32)
    window = hann_window(grid.size)
    expected = [[(plane[top : top + grid.size, left : left + grid.size] * window).sum() for left in grid.lefts]
                for top in grid.tops]
    np.testing.assert_allclose(grid.means(plane), expected, rtol=1e-5)
    np.testing.assert_allclose(grid.means(np.ones(shape, np.float32)), 1, rtol=1e-5)


def test_a_tile_lacks_something_if_one_pixel_is_missing(rng):
    grid, mask = TileGrid.of((130, 170)), np.ones((130, 170), bool)
    assert grid.is_all(mask).all()
    mask[rng.integers(0, 130, 3), rng.integers(0, 170, 3)] = False
    expected = [[mask[top : top + grid.size, left : left + grid.size].all() for left in grid.lefts]
                for top in grid.tops]
    np.testing.assert_array_equal(grid.is_all(mask), expected)
    assert not grid.is_all(mask).all() and not grid.is_all(np.zeros_like(mask)).any()


def test_cut_tiles_are_those_of_their_numbers(rng):
    grid, plane = TileGrid.of((130, 170)), rng.random((130, 170), np.float32)
    chosen = np.array([5, 0, len(grid.origins) - 1, 5])
    tiles = grid.cut(plane, chosen)
    for tile, (left, top) in zip(tiles, grid.origins[chosen], strict=True):
        np.testing.assert_array_equal(tile, plane[top : top + grid.size, left : left + grid.size])


@pytest.mark.parametrize("shape", [(130, 171), (33, 40), (2, 3)])
def test_the_grid_of_every_second_pixel_cuts_the_same_tiles(rng, shape):
    grid, plane = TileGrid.of(shape), rng.random(shape, np.float32)
    tiles = np.arange(len(grid.origins))
    cut = grid.cut(plane, tiles)[:, : grid.size // 2 * 2 : 2, : grid.size // 2 * 2 : 2]
    np.testing.assert_array_equal(grid.half.cut(np.ascontiguousarray(plane[::2, ::2]), tiles), cut)

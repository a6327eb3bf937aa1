"""A ground that is out of focus lies where a lens shows it."""

import numpy as np
import pytest

from studies.surfaces.light import Slice, find_slices, render_surfaces
from tfds_edmf.edmf_synthetic.ground import slices
from tfds_edmf.edmf_synthetic.lens import Layer, Lens, render

SHAPE, PERIOD, ROWS = (160, 24), 24, 6
LENS = Lens()
FOCUS_ROW = 40
PX_PER_ROW = 0.06  # of blur radius


def ground(picture):
    """A ground that recedes from the bottom up and is in focus at `FOCUS_ROW`."""
    per_px = 1 / LENS.blur_radius_px(1e9, 500.0) / 500  # vergence for a px of blur
    distance = 1 / (1 / 500 + (np.arange(SHAPE[0]) - FOCUS_ROW) * PX_PER_ROW * per_px)
    return slices(picture, 0, distance, ROWS, 40)


def shift(draw):
    """By how much waves are moved [px, down] at some rows."""
    phase = 2 * np.pi * np.arange(SHAPE[0]) / PERIOD
    drawn = [draw(np.float32(0.5 + 0.4 * np.broadcast_to(wave(phase)[:, None, None], (*SHAPE, 3))))[:, 12, 0] - 0.5
             for wave in (np.cos, np.sin)]
    moved = np.angle((drawn[0] + 1j * drawn[1]) * np.exp(-1j * phase)) / (2 * np.pi) * PERIOD
    return {row: float(moved[row - 3 : row + 3].mean()) for row in (40, 80, 110)}


def test_a_blurred_ground_stays_where_it_is():
    surface = shift(lambda picture: render_surfaces(find_slices(ground(picture)), SHAPE, LENS, 500.0))
    drawn_over = shift(lambda picture: render(ground(picture), SHAPE, LENS, 500.0))
    assert abs(surface[40]) < 0.05  # in focus
    assert abs(surface[80]) < 0.15 and abs(surface[110]) < 0.25  # by 2.4 and 4.2 px out of focus
    assert abs(drawn_over[110]) > 0.5  # what this is for


def test_in_focus_it_is_the_same_as_layers(rng):
    picture = rng.uniform(size=(*SHAPE, 3)).astype(np.float32)
    sharp = Lens(f_number=1e9)
    layers = ground(picture)
    np.testing.assert_allclose(render_surfaces(find_slices(layers), SHAPE, sharp, 500.0), picture, atol=1e-3)
    np.testing.assert_allclose(render(layers, SHAPE), picture, atol=1e-6)


@pytest.mark.parametrize("is_blurred", [False, True])
def test_an_object_between_two_pieces_of_ground_leaves_no_seam(is_blurred):
    layers = ground(np.full((*SHAPE, 3), 0.5, np.float32))
    clear = Layer(np.zeros((20, 6, 3), np.float32), np.zeros((20, 6), np.float32), 50, 8, layers[10].distance_mm)
    parts = find_slices([*layers[:10], clear, *layers[10:]])
    assert [isinstance(part, Slice) for part in parts].count(False) == 1
    lens = LENS if is_blurred else Lens(f_number=1e9)
    light = render_surfaces(parts, SHAPE, lens, 500.0)[8:-8, 8:-8]
    np.testing.assert_allclose(light, 0.5, atol=2e-3)


def test_slices_show_no_ends_where_more_is_blurred_than_they_overlap():
    layers = slices(np.full((*SHAPE, 3), 0.5, np.float32), 0, np.linspace(1e3, 500, SHAPE[0]), ROWS, 4)
    light = render_surfaces(find_slices(layers), SHAPE, Lens(f_number=LENS.f_number / 3), 400.0)
    np.testing.assert_allclose(light[16:-16, 12], 0.5, atol=2e-3)

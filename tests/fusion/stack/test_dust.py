"""Dust on the sensor."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edmf_jax.fusion.stack import PhotoOptions, dust, fuse_photos
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.fusion.stack.sketches import sketch

SIZE = (240, 320)
SPOTS = ((70, 90, 3.0, 0.2), (150, 210, 5.0, 0.12), (190, 60, 2.0, 0.3))  # row, column, σ px, depth


def sensor(spots=SPOTS):
    """The share of light that the sensor's dust lets through, `[H, W, 1]`."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.prod([1 - depth * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
                    for row, column, sigma, depth in spots], 0)[..., None]


def world(seed=0):
    """A plain scene, larger than the shots, with a few dark spots of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0] + 80, : SIZE[1] + 80]
    picture = 0.55 + 0.15 * np.sin(x / 90) * np.cos(y / 70)
    for row, column in rng.uniform(60, 230, (6, 2)):
        picture -= 0.1 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 4.0**2))
    return np.stack([picture, 0.95 * picture, 0.9 * picture], -1)


def shots(moves, spots=SPOTS, seed=0):
    """Shots `[H, W, 3]` whose scene is moved by (down, right), and their maps from the first one."""
    rng = np.random.default_rng(seed + 1)
    taken, maps = [], {}
    for number, (down, right) in enumerate(moves):
        part = world(seed)[40 - down : 40 - down + SIZE[0], 40 - right : 40 - right + SIZE[1]]
        noisy = 255 * part * sensor(spots) + 1.0 * rng.standard_normal(part.shape)
        taken.append(np.uint8(np.clip(np.rint(noisy), 0, 255)))
        maps[number] = SimpleNamespace(matrix=np.float64([[1, 0, right], [0, 1, down], [0, 0, 1]])) if number else None
    return taken, maps


def find(taken, maps):
    return dust.find(range(len(taken)), maps, [sketch(Masked(shot, None), with_view=False) for shot in taken])


@pytest.mark.parametrize("moves", [[(0, 0), (25, -30)], [(0, 0), (30, 5), (-28, 20)]])
def test_spots_that_stay_while_the_scene_moves_are_found_and_evened_out(moves):
    taken, maps = shots(moves)
    spots = find(taken, maps)
    assert len(spots) == len(SPOTS)
    places = sorted((spot.top + spot.share.shape[0] // 2, spot.left + spot.share.shape[1] // 2) for spot in spots)
    np.testing.assert_allclose(places, sorted((row, column) for row, column, *_ in SPOTS), atol=2)
    clean, _ = shots(moves, spots=())
    for shot, expected in zip(taken, clean):
        after = dust.even_out(shot, spots, shot.shape)
        for row, column, *_ in SPOTS:
            near = (slice(row - 3, row + 4), slice(column - 3, column + 4))
            left = np.abs(after[near].astype(float) - expected[near]).mean()
            assert left < 0.35 * np.abs(shot[near].astype(float) - expected[near]).mean()
        far = sensor()[..., 0] > 0.999
        change = np.abs(after[far].astype(int) - shot[far])
        assert change.max() <= 4 and change.mean() < 0.05


def test_the_order_of_the_shots_changes_nothing():
    taken, maps = shots([(0, 0), (30, 5), (-28, 20)])
    other = find([taken[0], taken[2], taken[1]], {0: None, 1: maps[2], 2: maps[1]})
    for a, b in zip(find(taken, maps), other, strict=True):
        assert (a.top, a.left) == (b.top, b.left)
        np.testing.assert_array_equal(a.share, b.share)


@pytest.mark.parametrize("moves", [[(0, 0), (0, 0)], [(0, 0), (2, -1)], [(0, 0), (25, -30)], [(0, 0), (9, 9), (31, 8)]])
@pytest.mark.parametrize("seed", range(3))
def test_spots_of_the_scene_stay(moves, seed):
    assert not find(*shots(moves, spots=(), seed=seed))


def test_what_does_not_move_is_left_alone():
    assert not find(*shots([(0, 0), (0, 0)]))
    taken, maps = shots([(0, 0), (25, -30)])
    assert dust.even_out(taken[0], [], taken[0].shape) is taken[0]
    smaller = cv2.resize(taken[1], None, fx=0.9, fy=0.9)
    assert not find([taken[0], smaller], maps)


def test_fused_pictures_have_none_and_a_line_says_so():
    taken, _ = shots([(0, 0), (25, -30)])
    rng = np.random.default_rng(5)
    # Texture to register by, away from the spots.
    texture = cv2.GaussianBlur(rng.random((SIZE[0] + 80, SIZE[1] + 80)), (0, 0), 1.0)
    texture = (texture - texture.mean()) * 6 * (np.arange(SIZE[1] + 80) > 300)
    for number, (down, right) in enumerate([(0, 0), (25, -30)]):
        part = world()[40 - down : 40 - down + SIZE[0], 40 - right : 40 - right + SIZE[1]]
        grain = texture[40 - down : 40 - down + SIZE[0], 40 - right : 40 - right + SIZE[1], None]
        taken[number] = np.uint8(np.clip(np.rint(255 * (part + 0.3 * grain) * sensor()), 0, 255))
    lines = []
    for keep in ("keep", "replace"):
        found = fuse_photos(taken, options=PhotoOptions(hot_pixels=keep), warn=lines.append)
        row, column, *_ = SPOTS[0]
        near = found.image[row - 1 : row + 2, column - 1 : column + 2]
        step = float(found.image[row - 14 : row + 15, column + 12].mean() - near.mean())
        assert step > 5 if keep == "keep" else abs(step) < 4
    assert any("spots of dust" in line for line in lines)

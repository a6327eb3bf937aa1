"""Shots whose registration has a flow: warped in strips, and compared on small copies."""

import functools

import numpy as np
import pytest

from edmf_jax.fusion.stack import sketches
from edmf_jax.fusion.stack.alignment import warp_to_reference
from edmf_jax.fusion.stack.analysis import analyze_stack
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.registration import Flow, Registration, warp
from edmf_jax.registration.warping import warp_mask
from tests.helpers.scenes import scene

SHAPE = (300, 120)  # strips have 256 rows
MATRIX = np.array([[1.01, 0.02, -3.0], [-0.02, 1.01, 5], [1e-5, 0, 1]])


def registration(matrix, flow=None):
    return Registration(matrix, "pso-sift", "homography", confident=True, flow=flow)


@pytest.mark.parametrize("channels", [1, 3])
def test_strips_of_a_shot_with_a_flow_and_holes_are_the_whole(channels):
    image = np.uint8(255 * scene(310, 130, channels))
    mask = np.ones((310, 130), bool)
    mask[200:280, 40:90] = False
    bent = Flow(np.random.default_rng(0).normal(0, 2, (9, 6, 2)), SHAPE)
    found, valid = warp_to_reference(image, registration(MATRIX, bent), (*SHAPE, channels), mask)
    expected, inside = warp(image[..., 0] if channels == 1 else image, MATRIX, SHAPE, flow=bent)
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    np.testing.assert_array_equal(valid, inside & warp_mask(mask, MATRIX, SHAPE, flow=bent))
    assert 0.5 < valid.mean() < inside.mean() < 1


def test_small_copies_are_moved_by_the_flow_too(monkeypatch):
    monkeypatch.setattr(sketches, "reduced_copy", functools.partial(sketches.reduced_copy, most_px=9000))
    pictures = [scene(200, 180, seed=1), scene(100, 90, seed=1)]  # of another size, and so another scale
    mask = np.ones((100, 90), bool)
    mask[30:50, 20:40] = False
    reference, moving = (sketches.sketch(Masked(np.uint8(255 * x), its_mask), with_view=False)
                         for x, its_mask in zip(pictures, (None, mask)))
    assert reference.copy.shape[:2] == (100, 90) == moving.copy.shape[:2]
    half, shift = np.diag([0.5, 0.5, 1]), np.array([[1, 0, 6.0], [0, 1, -4], [0, 0, 1]])
    constant = Flow(np.full((8, 9, 2), (6.0, -4.0)), (200, 180))
    by_flow, by_matrix = (analyze_stack([reference, moving], [None, one]).shot_analyses[1]
                          for one in (registration(half, constant), registration(shift @ half)))
    np.testing.assert_array_equal(by_flow.valid, by_matrix.valid)
    np.testing.assert_allclose(by_flow.copy, by_matrix.copy, atol=0.02)
    np.testing.assert_allclose(by_flow.dark, by_matrix.dark, atol=0.02)
    assert 0.5 < by_flow.valid.mean() < 0.9

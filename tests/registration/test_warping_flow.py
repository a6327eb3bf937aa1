"""Resampling through a map and a flow: strips are those of the whole, and pictures, planes and masks agree."""

import numpy as np
import pytest

from edmf_jax.registration import Flow, warp
from edmf_jax.registration.warping import warp_mask, warp_plane
from tests.helpers.scenes import scene

SHAPE = (150, 190)
MATRIX = np.array([[1.03, 0.02, -6.0], [-0.02, 0.99, 5], [2e-5, 1e-5, 1]])
BENT = Flow(np.random.default_rng(0).normal(0, 3, (8, 9, 2)), SHAPE)


@pytest.mark.parametrize("flow", [None, BENT])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_strips_equal_the_whole(dtype, flow):
    image = scene(140, 200)
    image = np.uint8(255 * image) if dtype == np.uint8 else image
    whole, valid = warp(image, MATRIX, SHAPE, flow=flow)
    mask = image[..., 0] > image[..., 0].mean()
    whole_mask = warp_mask(mask, MATRIX, SHAPE, flow=flow)
    assert 0.3 < valid.mean() < 1 and 0.2 < whole_mask.mean() < 0.8
    for top, bottom in ((0, 64), (64, 149), (149, 150)):
        part, its_valid = warp(image, MATRIX, (bottom - top, SHAPE[1]), flow=flow, top=top)
        np.testing.assert_array_equal(its_valid, valid[top:bottom])
        apart = np.abs(part.astype(float) - whole[top:bottom])
        if flow is not None:
            assert not apart.any()
        # OpenCV rounds positions to 1/32 px; those of a strip may be rounded to the other side.
        assert (apart > 1e-6).mean() < 0.01 and apart.max() < 0.1 * whole.max()
        its_mask = warp_mask(mask, MATRIX, (bottom - top, SHAPE[1]), flow=flow, top=top)
        assert (its_mask != whole_mask[top:bottom]).mean() < (0.003 if flow is None else 1e-9)


def test_a_flow_of_nothing_changes_nothing():
    image = scene(140, 200)
    plain, valid = warp(image, MATRIX, SHAPE)
    zero, its_valid = warp(image, MATRIX, SHAPE, flow=Flow(np.zeros((8, 9, 2)), SHAPE))
    assert (valid != its_valid).mean() < 1e-3
    np.testing.assert_allclose(zero[valid & its_valid], plain[valid & its_valid], atol=0.05)


def test_a_flow_moves_by_its_displacements():
    image = scene(*SHAPE)
    by = Flow(np.full((8, 9, 2), (4.0, -2.0)), SHAPE)
    moved, valid = warp(image, np.eye(3), SHAPE, flow=by)
    np.testing.assert_allclose(moved[2:, :-4], image[:-2, 4:], atol=1e-5)
    assert valid[2:, :-4].all() and not valid[:2].any() and not valid[:, -4:].any() and not moved[~valid].any()
    plane = np.ascontiguousarray(image[..., 0])
    np.testing.assert_allclose(warp_plane(plane, np.eye(3), SHAPE, flow=by)[2:, :-4], plane[:-2, 4:], atol=1e-5)
    mask = plane > 0.5
    its_mask = warp_mask(mask, np.eye(3), SHAPE, flow=by)
    assert its_mask.dtype == bool
    np.testing.assert_array_equal(its_mask[2:, :-4], mask[:-2, 4:])
    assert not its_mask[:2].any() and not its_mask[:, -4:].any()


def test_a_mask_and_a_plane_are_0_outside():
    far = np.array([[1, 0, 1000.0], [0, 1, 0], [0, 0, 1]])
    for flow in (None, BENT):
        assert not warp_mask(np.ones(SHAPE, bool), far, SHAPE, flow=flow).any()
        assert not warp_plane(np.ones(SHAPE, np.float32), far, SHAPE, flow=flow).any()
        image, valid = warp(np.ones(SHAPE, np.float32), far, SHAPE, flow=flow)
        assert not valid.any() and not image.any()

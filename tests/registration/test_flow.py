"""The residual flow: its spline, when it is believed, chains of flows, and a pair that no single map explains."""

import dataclasses

import cv2
import numpy as np
import pytest

from edmf_jax.registration import Flow, RegistrationConfig, flow, register, tiles, transforms
from edmf_jax.registration.blurs import BlurCache
from edmf_jax.registration.grid import TileGrid
from tests.helpers.scenes import scene

SHAPE = (480, 640)
MATRIX = np.array([[1.02, 0.01, -7.0], [-0.01, 1.01, 4], [1e-5, -2e-5, 1]])


def grid_points(shape=SHAPE):
    grid = TileGrid.of(shape)
    return grid.origins + (grid.size - 1) / 2


def field(points, shape=SHAPE, size_px=3.0):
    """A smooth displacement of up to about `size_px`, as a hill between plains gives."""
    x, y = points[:, 0] / shape[1], points[:, 1] / shape[0]
    hill = np.exp(-((x - 0.45) ** 2 + (y - 0.55) ** 2) / (2 * 0.22**2))
    return size_px * np.stack([hill, 0.4 * np.sin(3 * x) * hill], -1)


def same(count, variance=0.01):
    return np.tile(np.eye(2) / variance, (count, 1, 1))


def fitted(displacements, points=None):
    points = grid_points() if points is None else points
    return flow.fit(points, displacements, same(len(points)), SHAPE)


def some_flow(seed, shape=SHAPE, size_px=2.0):
    return Flow(np.random.default_rng(seed).normal(0, size_px, (7, 9, 2)), shape)


# The spline


def test_a_smooth_field_is_reproduced_between_the_tiles(rng):
    found = fitted(field(grid_points()) + rng.normal(0, 0.1, grid_points().shape))
    between = rng.uniform(20, np.array(SHAPE[::-1]) - 20, (500, 2))
    assert found.is_better and found.map_px > 1 and found.prediction_px < 0.3
    errors = np.linalg.norm(found.flow.at(between) - field(between), axis=1)
    assert np.sqrt(np.square(errors).mean()) < 0.1 and errors.max() < 0.4


def test_wrong_tiles_have_no_weight(rng):
    points = grid_points()
    displacements = field(points)
    wrong = rng.random(len(points)) < 0.1
    displacements[wrong] += rng.normal(0, 20, (wrong.sum(), 2))
    found = fitted(displacements)
    assert np.linalg.norm(found.flow.at(points) - field(points), axis=1).max() < 0.6


def test_no_displacement_gives_no_field():
    found = fitted(np.zeros((len(grid_points()), 2)))
    np.testing.assert_allclose(found.flow.coefficients, 0, atol=1e-9)
    assert not found.is_better and found.flow.largest_px < 1e-9


@pytest.mark.parametrize("shared", [False, True])
def test_noise_is_no_field(shared):
    # Neighboring tiles overlap by half, so they share a part of their errors.
    for seed in range(5):
        grid = TileGrid.of(SHAPE)
        noise = np.random.default_rng(seed).normal(0, 2, (len(grid.tops), len(grid.lefts), 2))
        noise = cv2.blur(noise, (3, 3)) if shared else noise
        found = fitted(noise.reshape(-1, 2))
        assert not found.is_better and found.prediction_px > 0.85 * found.map_px


def test_a_field_needs_tiles_and_stays_small(rng):
    points = grid_points()
    some = rng.permutation(len(points))[:23]
    assert fitted(field(points[some]), points[some]) is None
    assert fitted(field(points, size_px=8)).is_better
    assert not fitted(field(points, size_px=40)).is_better  # no hand moves so far


def test_positions_are_those_of_matrix_and_field():
    one = some_flow(1)
    top, height = 200, 40
    x, y = one.positions(MATRIX, (height, SHAPE[1]), top)
    assert x.dtype == y.dtype == np.float32
    points = np.stack(np.meshgrid(np.arange(SHAPE[1]), np.arange(top, top + height)), -1).reshape(-1, 2)
    expected = transforms.project(MATRIX, points) + one.at(points)
    np.testing.assert_allclose(np.stack([x.ravel(), y.ravel()], -1), expected, atol=1e-4)


def test_a_copy_has_the_same_field():
    one = some_flow(2)
    half = one.rescaled((SHAPE[0] // 2, SHAPE[1] // 2), 0.25)
    points = np.random.default_rng(0).uniform(0, 400, (50, 2))
    np.testing.assert_allclose(half.at((points + 0.5) / 2 - 0.5), one.at(points) / 4, atol=1e-9)


def test_the_field_is_bounded_and_goes_on_beyond_the_edge_as_at_the_edge(rng):
    one = some_flow(3)
    points = rng.uniform(-0.5, np.array(SHAPE[::-1]) - 0.5, (2000, 2))
    assert np.linalg.norm(one.at(points), axis=1).max() <= one.largest_px + 1e-9
    np.testing.assert_allclose(one.at(np.array([[-90.0, 77]])), one.at(np.array([[-0.5, 77]])))


def test_the_bound_is_that_of_the_picture_and_not_of_coefficients_outside():
    x = np.linspace(-1, 7, 9)  # a spline with linear coefficients is linear: 6 cells, knots at 0…6
    slope = Flow(np.stack([np.tile(x, (7, 1)) - 2, np.zeros((7, 9))], -1), SHAPE)
    np.testing.assert_allclose(slope.at(np.array([[-0.5, 100]])), [[-2, 0]], atol=1e-12)
    assert slope.largest_px == pytest.approx(4)
    assert np.abs(slope.coefficients).max() == 5


# Chains


def test_a_step_back_undoes_a_step():
    step = flow.Step(MATRIX, some_flow(4))
    points = np.random.default_rng(1).uniform(50, 400, (200, 2))
    there = step.follow(points, True)
    np.testing.assert_allclose(dataclasses.replace(step, inverse=True).follow(there, True), points, atol=0.02)
    np.testing.assert_allclose(step.follow(points, False), transforms.project(MATRIX, points))


def test_a_chain_of_flows_is_one_flow():
    smooth = Flow(fitted(field(grid_points())).flow.coefficients, SHAPE)
    steps = [flow.Step(MATRIX, smooth), flow.Step(np.eye(3), smooth, inverse=True),
             flow.Step(MATRIX, smooth)]
    found = flow.compose(steps, SHAPE)
    points = np.random.default_rng(2).uniform(30, np.array(SHAPE[::-1]) - 30, (300, 2))
    exact = plain = points
    for step in steps:
        exact, plain = step.follow(exact, True), step.follow(plain, False)
    assert np.linalg.norm(exact - plain, axis=1).max() > 1
    np.testing.assert_allclose(found.at(points), exact - plain, atol=0.1)


def test_a_chain_without_flows_has_none_and_one_flow_alone_is_itself():
    assert flow.compose([flow.Step(MATRIX, None)] * 2, SHAPE) is None
    smooth = fitted(field(grid_points())).flow
    found = flow.compose([flow.Step(MATRIX, smooth), flow.Step(np.eye(3), None)], SHAPE)
    np.testing.assert_allclose(found.at(grid_points()), smooth.at(grid_points()), atol=0.02)


# Pictures


def bent_pair(size_px, shape=(300, 400)):
    """A picture, and one in which its content is displaced by `field` on top of a map; uint8."""
    picture = scene(shape[0] + 60, shape[1] + 60)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    points = np.stack([x.ravel(), y.ravel()], -1)
    # The reference is what the moving picture shows at the positions of map and field.
    moved = transforms.project(MATRIX, points) + field(points, shape, size_px)
    offset = 30.0
    sample = lambda at: cv2.remap(picture, *(np.float32(at[:, d].reshape(shape) + offset) for d in (0, 1)),
                                  cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return tuple(np.uint8(np.rint(255 * np.clip(sample(at), 0, 1))) for at in (moved, points))


@pytest.mark.parametrize("size_px", [0.0, 5.0])
def test_a_pair_gets_a_flow_where_no_single_map_is_right(size_px):
    shape = 300, 400
    pair = bent_pair(size_px, shape)
    found = register(*pair)
    assert found.confident, found.doubts
    assert (found.flow is not None) == (size_px > 0)
    points = grid_points(shape)
    truth = transforms.project(MATRIX, points) + field(points, shape, size_px)
    covered = ((truth > 10) & (truth < np.array(shape[::-1]) - 10)).all(1)
    mapped = transforms.project(found.matrix, points)
    alone = np.linalg.norm(mapped - truth, axis=1)[covered]
    with_flow = np.linalg.norm(mapped + (found.flow.at(points) if found.flow else 0) - truth, axis=1)[covered]
    assert np.sqrt(np.square(with_flow).mean()) < 0.35 and with_flow.max() < 1.2
    if size_px:
        assert alone.max() > 1.5 and found.deviation_px < 1
        rigid = register(*pair, config=RegistrationConfig(may_bend=False, max_limit_permille=4.0))
        assert rigid.flow is None
        np.testing.assert_allclose(rigid.matrix, found.matrix)


def test_pictures_without_tiles_to_compare_are_not_bent():
    rng = np.random.default_rng(0)
    pair = [BlurCache(rng.random((100, 120), np.float32)) for _ in range(2)]
    far = np.array([[1, 0, 500.0], [0, 1, 0], [0, 0, 1]])
    refined = tiles.refine(*pair, far, "auto")
    assert refined.deviation_px == np.inf and refined.model == "homography"
    np.testing.assert_array_equal(refined.matrix, far)
    assert tiles.bend(*pair, refined) is None


def test_tiles_in_one_part_of_the_picture_are_no_evidence():
    plane = np.ascontiguousarray(scene(300, 300, 1)[..., 0])
    refined = tiles.refine(BlurCache(plane), BlurCache(plane[:100, :100].copy()), np.eye(3), "auto")
    assert refined.model == "similarity" and refined.deviation_px > 1000


def test_splines_hold_the_design_without_its_zeros(rng):
    field = flow.Flow(rng.normal(size=(7, 9, 2)), (80, 120))
    points = np.concatenate([rng.uniform((-10, -10), (130, 90), (40, 2)), [[-0.5, -0.5], [119.5, 79.5], [0, 0]]])
    design, splines, weights = field.design(points), field.sparse_design(points), rng.uniform(size=len(points))
    dense = np.zeros_like(design)
    np.put_along_axis(dense, splines.places, splines.values, 1)
    np.testing.assert_allclose(dense, design, atol=1e-15)
    np.testing.assert_allclose(field.at(points), design @ field.coefficients.reshape(-1, 2), atol=1e-12)
    np.testing.assert_allclose(splines.sums(weights), design.T @ weights, atol=1e-12)
    np.testing.assert_allclose(splines.normal(weights), design.T @ (weights[:, None] * design), atol=1e-12)
    np.testing.assert_allclose(splines.part(slice(3, 9)).at(design[0]), design[3:9] @ design[0], atol=1e-12)

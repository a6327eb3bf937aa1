"""Stacks: every shot in its place in any order, strange shots placed or left out with a reason, and how it is done."""

import re
import threading

import numpy as np
import pytest

from edmf_jax.registration import RegistrationConfig, View, adjustment, joining, register_stack, transforms
from tests.helpers.focus_stacks import SIZE, camera, focus_stack, take

ROUGH = RegistrationConfig(match_pixels=12_000, refine_pixels=30_000)


def registered(shots, **options):
    return register_stack([View(image) for image in shots.images], [image.tobytes() for image in shots.images],
                          **options)


def worst_corner(shots, found, number):
    """Distance of the worst corner from the truth, px."""
    size = shots.images[found.reference].shape
    return transforms.corner_errors(found.registrations[number].matrix, shots.truth(found.reference, number),
                                    size).max()


@pytest.fixture(scope="module")
def plain():
    shots, shares = focus_stack(4), []
    found = registered(shots, progress=shares.append)
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] <= 1
    return shots, found


def test_every_corner_is_within_a_pixel(plain):
    shots, found = plain
    assert found.reference == 0 and found.registrations[0] is None and not found.left_out
    for number in range(1, 4):
        one = found.registrations[number]
        assert one.confident, one.doubts
        assert worst_corner(shots, found, number) < 1
        assert one.deviation_px < 2 and one.neighbor != number
        np.testing.assert_allclose(transforms.project(one.matrix, one.points), one.targets, atol=4)
        assert len(one.points) == one.inliers


def test_the_order_of_the_others_changes_nothing(plain):
    shots, found = plain
    order = [0, 3, 1, 2]
    again = registered(shots.chosen(order))
    for place, number in enumerate(order[1:], 1):
        one, other = again.registrations[place], found.registrations[number]
        np.testing.assert_array_equal(one.matrix, other.matrix)
        assert one.deviation_px == other.deviation_px and order[one.neighbor] == other.neighbor


def test_any_shot_can_be_the_reference(plain):
    shots, _ = plain
    found = registered(shots.chosen([0, 1, 3]), reference=2)
    assert found.reference == 2 and found.registrations[2] is None
    assert max(worst_corner(shots.chosen([0, 1, 3]), found, number) for number in (0, 1)) < 1


STRANGE = {"wrong": 2, "bracketed twice": 3, "half size": 4, "turned by 90°": 5, "turned by 10°": 6, "blank": 7}


@pytest.fixture(scope="module")
def strange():
    """Two plain shots, and one of each kind of `STRANGE`; and how they lie."""
    half = np.diag([0.5, 0.5, 1]) @ camera(1.01, (2, -1))
    half[:2, 2] -= 0.25  # of pixel centers
    upright = np.array([[0, -1, SIZE[0] - 1.0], [1, 0, 0], [0, 0, 1]])  # (x, y) → (H − 1 − y, x)
    shots = (take(0.3, camera()) + take(0.7, camera(1.01, (-2, 1)), noise_seed=1)
             + take(0.5, camera(), seed=7) + take(0.7, camera(1.01, (-2, 1)), noise_seed=2)
             + take(0.5, half, noise_seed=3, size=(SIZE[0] // 2, SIZE[1] // 2))
             + take(0.5, upright @ camera(1, (1, 2)), noise_seed=4, size=SIZE[::-1])
             + take(0.6, camera(0.99, (0, 3), 10), noise_seed=5) + take(0.5, camera()))
    shots.images[-1] = np.full((*SIZE, 3), 88, np.uint8)
    return shots, registered(shots)


@pytest.mark.parametrize("what", ["bracketed twice", "half size", "turned by 90°", "turned by 10°"])
def test_a_strange_shot_is_placed(strange, what):
    shots, found = strange
    number = STRANGE[what]
    assert number not in found.left_out, found.left_out.get(number)
    assert found.registrations[number].confident
    assert worst_corner(shots, found, number) < 1


def test_shots_that_cannot_be_placed_are_left_out_with_a_reason(strange):
    _, found = strange
    assert set(found.left_out) == {STRANGE["wrong"], STRANGE["blank"]}
    assert found.left_out[STRANGE["blank"]] == "it shows nothing but one tone"
    # The number in braces is that of the shot which it was compared with, for its name.
    reason = re.fullmatch(r"to \{(\d)\}: .*(agree|uncertain).*", found.left_out[STRANGE["wrong"]])
    assert int(reason[1]) in {0, 1, 3, 4, 5, 6}
    assert all(found.registrations[number] is None for number in found.left_out)


def test_they_do_not_move_the_others(strange):
    shots, found = strange
    assert found.reference == 0 and worst_corner(shots, found, 1) < 1


# What falls apart


@pytest.fixture(scope="module")
def two_scenes():
    """Two shots of one scene, three of another."""
    return focus_stack(2, seed=3) + focus_stack(3, seed=4)


def test_the_reference_and_those_that_are_joined_to_it_are_kept(two_scenes):
    found = registered(two_scenes)
    assert found.reference == 0 and set(found.left_out) == {2, 3, 4}
    assert worst_corner(two_scenes, found, 1) < 1
    for reason in found.left_out.values():
        assert reason


@pytest.mark.parametrize("blank", [False, True])
def test_a_reference_that_fits_nothing_is_left_out(two_scenes, blank):
    shots = two_scenes.chosen([0, 2, 3])
    if blank:
        shots.images[0] = np.full((*SIZE, 3), 88, np.uint8)
    found = registered(shots)
    assert set(found.left_out) == {0} and found.reference == 1  # the first one that can take its place
    assert worst_corner(shots, found, 2) < 1


def test_the_blank_one_of_two_is_named():
    blank, shot = np.full((*SIZE, 3), 88, np.uint8), take(0.5, camera()).images[0]
    views = [View(blank), View(shot)]
    assert register_stack(views, [b"a", b"b"]).left_out == {1: "to {0}: that one shows nothing but one tone"}
    assert register_stack(views[::-1], [b"a", b"b"]).left_out == {1: "it shows nothing but one tone"}


def test_best_effort_takes_what_there_is_and_does_not_let_it_move_the_others(two_scenes):
    shots = two_scenes.chosen([2, 3, 0, 1])
    found = registered(shots, best_effort=True)
    assert not found.left_out
    assert found.registrations[1].confident and worst_corner(shots, found, 1) < 1
    # Of the two of the other scene, one fits the other well, but neither has a place that is certain.
    doubts = [found.registrations[number].doubts for number in (2, 3)]
    assert not found.registrations[2].confident and not found.registrations[3].confident and all(doubts)
    assert "the shot that it was registered to has no certain place itself" in doubts


def test_deviations_that_add_up_to_too_much_are_a_doubt(monkeypatch):
    adjust = adjustment.adjust
    far_off = {1: 0.0, 2: 9.0}  # no pair is uncertain, but the end of their chain is
    monkeypatch.setattr(adjustment, "adjust", lambda *args: (adjust(*args)[0], {0: 0.0, **far_off}))
    found = registered(focus_stack(3, seed=5))
    doubts = [one.doubts for one in found.registrations if one is not None and not one.confident]
    assert not found.left_out
    assert doubts.count("along its chain of neighbors the corners are uncertain by 9.0 px, more than 1.0") == 1, doubts


def test_similarities_stay_similarities():
    found = registered(focus_stack(3, seed=5), model="similarity")
    for one in found.registrations[1:]:
        values = np.linalg.svd(one.matrix[:2, :2], compute_uv=False)
        assert one.model == "similarity" and values[0] == pytest.approx(values[1])
        np.testing.assert_allclose(one.matrix[2], [0, 0, 1], atol=1e-12)


# How the work is done


def test_planes_are_freed_only_when_no_pair_needs_them(monkeypatch):
    # The second pair ends while the first one still runs.
    views = [View(take(0.5, camera(), noise_seed=number).images[0], ROUGH) for number in range(3)]
    freed, second_ended = [], threading.Event()

    def register_views(first, second, **options):
        if second is views[1]:
            second_ended.wait(10)
            assert not any(view is views[0] for view in freed)
        return "found"

    for view in views:
        monkeypatch.setattr(view, "release", lambda view=view: (freed.append(view), second_ended.set()))
    monkeypatch.setattr(joining, "register_views", register_views)
    monkeypatch.setattr(joining, "_KEPT_BYTES", 0)  # as large shots
    work = joining.Pairs(views, "auto", "pso-sift", ROUGH, lambda share: None)
    with joining.ThreadPoolExecutor(2) as work.pool:
        work._register([(0, 1), (0, 2)])
    assert len(freed) == 3 and set(work.found) == {(0, 1), (0, 2)}

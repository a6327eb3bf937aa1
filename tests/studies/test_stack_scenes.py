"""Rendered stacks: their truth is where things are drawn, and their shots are what the plan says."""

import dataclasses
import json

import numpy as np
import pytest

from edmf_jax.registration.transforms import project
from studies import stack_scenes
from studies.stack_scenes import changed_view, draw_views, make_stack, make_world, shape_of
from studies.stack_settings import CHANGES, HAND, SETTINGS, WRONG, Plan, Setting, plan_shots
from studies.stack_truth import read_truth, score, write_stack
from tfds_edmf.edmf_synthetic.depths import Depths
from tfds_edmf.edmf_synthetic.lens import Layer, Lens
from tfds_edmf.edmf_synthetic.scene import RenderedScene

SIZE = (72, 96)
BY_NAME = {setting.name: setting for setting in SETTINGS}
EVERYTHING = BY_NAME["everything"]


def marked_world(places, distances):
    """A black scene with a soft white dot at each place (x, y), px of its canvas, at each distance."""
    shape, half = (260, 320), 15
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    dot = np.float32(np.exp(-(x**2 + y**2) / (2 * 3**2)))
    layers = [Layer(np.zeros((*shape, 3), np.float32), np.ones(shape, np.float32), 0, 0, 400.0)]
    layers += [Layer(np.ones((*dot.shape, 3), np.float32), dot, y - half, x - half, distance)
               for (x, y), distance in zip(places, distances)]
    return RenderedScene(layers, Depths(100.0, 300.0, 5.0), shape, night=False)


@pytest.mark.parametrize("change", ["", "size", "turned 90", "turned 10"])
def test_a_marker_is_drawn_where_the_truth_says(rng, change):
    size, place, sharp = (160, 200), (150, 140), Lens(f_number=1e9)
    setting = dataclasses.replace(BY_NAME["parallax"], parallax=0.04)
    where = {}
    for distance in (110.0, 280.0):
        world = marked_world([place], [distance])
        views = draw_views(np.random.default_rng(3), setting, world, 4, size)
        for number in (0, 3):
            view = changed_view(views[number], change, size)
            light = stack_scenes._light(world, view, shape_of(change, size), sharp, 0.0)[..., 0].astype(np.float64)
            y, x = np.indices(light.shape)
            center = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
            want = project(view.at(1 / distance), np.array([place], float))[0]
            np.testing.assert_allclose(center, want, atol=0.05)
            where[distance, number] = center
    moved = [where[d, 3] - where[d, 0] for d in (110.0, 280.0)]
    assert np.linalg.norm(moved[0] - moved[1]) > 0.5  # parallax: the near marker moves otherwise than the far one


def test_without_parallax_one_map_is_right_for_all_depths():
    world = marked_world([], [])
    for view in draw_views(np.random.default_rng(0), BY_NAME["hand-held"], world, 5, SIZE):
        np.testing.assert_array_equal(view.at(0.01), view.at(0.002))


def test_a_plan_has_every_change_once_and_begins_with_a_good_shot():
    setting = Setting("all", stops=0.5, changes=CHANGES)
    for seed in range(20):
        plans = plan_shots(np.random.default_rng(seed), setting, 6)
        assert len(plans) == 8
        assert plans[0].change == ""
        assert sorted(p.change for p in plans if p.change) == sorted(set(CHANGES) - {"shuffled"})
        twins = [p for p in plans if p.view == next(q.view for q in plans if q.change == "duplicate")]
        assert len(twins) == 2 and sorted(p.change for p in twins) == ["", "duplicate"]
        assert sorted({p.view for p in plans}) == [WRONG, *range(6)]
    orders = {tuple(p.view for p in plan_shots(np.random.default_rng(seed), setting, 6)) for seed in range(5)}
    assert len(orders) == 5
    in_order = plan_shots(np.random.default_rng(0), BY_NAME["hand-held"], 6)
    assert [p.view for p in in_order] == list(range(6))


@pytest.fixture(scope="module")
def stack():
    return make_stack(EVERYTHING, 1, 3, SIZE, 4)


def test_a_stack_is_a_function_of_its_arguments(stack):
    again = make_stack(EVERYTHING, 1, 3, SIZE, 4)
    for shot, same in zip(stack.shots, again.shots):
        np.testing.assert_array_equal(shot.image, same.image)
    other = make_stack(EVERYTHING, 2, 3, SIZE, 4)
    assert not np.array_equal(stack.shots[0].image, other.shots[0].image)


def test_the_truth_of_a_written_stack_scores_itself_as_exact(stack, tmp_path):
    paths = write_stack(stack, tmp_path)
    truth = read_truth(tmp_path)
    entries = json.loads((tmp_path / "truth.json").read_text())["shots"]
    assert [path.name for path in paths] == [entry["name"] for entry in entries]
    for entry, shot in zip(entries, stack.shots):
        assert shot.image.shape == (entry["height"], entry["width"], 3)
        assert entry["twins"] == [p.name for p, s in zip(paths, stack.shots)
                                  if s.plan.view == shot.plan.view and s is not shot]
    names = {entry["change"]: entry["name"] for entry in entries}
    twin = truth.shots[names["duplicate"]]["twins"][0]
    good = [entry for entry in entries if entry["matrix"] and entry["name"] not in (twin, names["size"])]
    found = {"reference": entries[0]["name"], "shots": good, "left_out": [
        {"name": names["wrong"], "reason": "no map"}]}
    results = {result["name"]: result for result in score(truth, found)}
    for entry in good[1:]:
        np.testing.assert_allclose(results[entry["name"]]["corners"], 0, atol=1e-3)
    assert not any(result["wrong"] for result in results.values())
    assert [name for name, r in results.items() if r["needed"] and not r["placed"]] == [names["size"]]
    assert results[names["wrong"]]["reason"] == "no map"
    assert not results[twin]["needed"]  # its twin is there


def test_where_the_camera_moved_corners_are_right_for_one_plane_and_pixels_each_for_their_own(tmp_path):
    setting = dataclasses.replace(BY_NAME["parallax"], parallax=0.05)
    stack = make_stack(setting, 0, 0, SIZE, 3)
    write_stack(stack, tmp_path)
    truth = read_truth(tmp_path)
    places = np.stack(np.meshgrid([3.0, 60.0], [5.0, 66.0]), -1).reshape(-1, 2)
    found = truth.targets("shot-01.png", places)
    for place, target in zip(places, found):
        vergence = float(stack.vergence[int(place[1]), int(place[0])])
        matrix = truth.matrix("shot-00.png", "shot-01.png", vergence)
        np.testing.assert_allclose(project(matrix, place[None])[0], target)
    shots = json.loads((tmp_path / "truth.json").read_text())["shots"]
    results = score(truth, {"reference": "shot-00.png", "shots": shots, "left_out": []})[1:]
    for result in results:
        np.testing.assert_allclose(result["corners"], 0, atol=1e-3)
    assert max(result["everything"] for result in results) > 0.3  # the map is that of what is in focus
    assert max(max(result["seen"]) for result in results) > 0.3
    content = [result for result in results if result["content"] is not None]
    assert all(result["content"] <= result["everything"] and 0 <= result["content_within"] <= 1 for result in content)


def test_noise_has_the_energy_that_the_setting_says(monkeypatch):
    sigma = 4.0
    monkeypatch.setattr(stack_scenes, "plan_shots", lambda *_: [
        Plan(0, 0.0), Plan(0, 0.0, "duplicate"), Plan(0, 0.0, "duplicate", same_noise=True), Plan(1, 0.0)])
    shots = make_stack(Setting("noisy", noise=(sigma, sigma), **HAND), 0, 0, SIZE, 3).shots
    first, second, copy, other = (shot.image.astype(float) for shot in shots)
    np.testing.assert_array_equal(copy, second)
    unclipped = (np.minimum(first, second) > 30) & (np.maximum(first, second) < 225)
    assert unclipped.mean() > 0.3
    assert (first - second)[unclipped].std() == pytest.approx(sigma * 2**0.5, rel=0.05)
    assert np.abs(first - other).mean() > np.abs(first - second).mean()


def test_vignetting_takes_the_light_of_the_corners():
    world = make_world(np.random.default_rng(0), "hedge", SIZE)
    view = draw_views(np.random.default_rng(0), BY_NAME["tripod"], world, 3, SIZE)[0]
    full, dark = (stack_scenes._light(world, view, SIZE, Lens(), share) for share in (0.0, 0.4))
    np.testing.assert_allclose(dark[0, 0], 0.6 * full[0, 0], rtol=1e-5)
    np.testing.assert_allclose(dark[36, 48], full[36, 48], rtol=1e-3)

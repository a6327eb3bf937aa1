"""The registration study: its rows, its resumption, the truth of its trials."""

import dataclasses

import numpy as np
import pytest

from edmf_jax.registration import Flow, Registration
from studies import registration, registration_trials

SMALL_MATERIAL = registration_trials.Material(size=(240, 200))


def test_registration_rows_say_what_was_wrong():
    results = registration.run_all(SMALL_MATERIAL, 2, ("pso-sift", "ecc"))
    rows = {row.name: row for row in registration.table_rows(results)}
    assert set(rows) == {f"registration, {what}" for what in (
        "rendered, pso-sift: mean corner error", "rendered, ecc: mean corner error",
        "unrelated, pso-sift: called confident", "unrelated, ecc: called confident")}
    assert rows["registration, unrelated, pso-sift: called confident"].median == 0
    note = rows["registration, rendered, pso-sift: mean corner error"].note
    assert "confident and wrong 0" in note and "of map and flow median 0." in note
    assert all(r["content"] < r["error"] + 0.5 for r in results if r["kind"] == "rendered" and r["confident"])


def test_the_error_of_a_map_with_a_flow_is_that_of_both():
    shape, truth = (120, 160, 3), np.array([[1, 0, 30.0], [0, 1, 0], [0, 0, 1]])
    off = np.array([[1, 0, 27.0], [0, 1, -4], [0, 0, 1]])
    right = Flow(np.full((9, 9, 2), (3.0, 4.0)), shape[:2])
    found = Registration(off, "pso-sift", "homography")
    assert registration.content_error(found, truth, shape, shape) == pytest.approx(5)
    bent = dataclasses.replace(found, flow=right)
    assert registration.content_error(bent, truth, shape, shape) == pytest.approx(0, abs=1e-9)
    wrong_at_the_right = right.coefficients + np.array([[[0.0, 0]] * 5 + [[9, 9]] * 4])
    half = dataclasses.replace(found, flow=Flow(wrong_at_the_right, shape[:2]))
    assert registration.content_error(half, truth, shape, shape) > 1
    assert registration.content_error(half, truth, shape, (120, 80)) == pytest.approx(0, abs=1e-9)  # it lacks that part
    far = truth + np.array([[0, 0, 90.0], [0, 0, 0], [0, 0, 0]])
    assert registration.content_error(half, far, shape, (120, 80)) == np.inf
    before = Registration(np.linalg.inv(truth), "pso-sift", "homography")
    identity = Registration(np.eye(3), "pso-sift", "homography")
    assert registration.content_error(identity, truth, shape, shape, before) == pytest.approx(0, abs=1e-9)


def test_a_stopped_registration_run_goes_on(monkeypatch, tmp_path):
    kept, ran = tmp_path / "kept.jsonl", []

    def run(trial, method, model):
        ran.append((trial.kind, method))
        return {"error": float(len(ran))}

    monkeypatch.setattr(registration, "run", run)
    first = registration.run_all(SMALL_MATERIAL, 2, ["ecc"], kept, kinds=["rendered"])
    assert ran == [("rendered", "ecc")] * 2
    lines = kept.read_text()
    kept.write_text(lines[:-5])  # killed while the last line was written
    again = registration.run_all(SMALL_MATERIAL, 2, ["ecc", "pso-sift"], kept, kinds=["rendered"])
    assert ran[2:] == [("rendered", "pso-sift"), ("rendered", "ecc"), ("rendered", "pso-sift")]
    assert again[0] == first[0] and [r["error"] for r in again] == [1, 3, 4, 5]
    other = registration_trials.Material(seed=1, size=(240, 200))
    registration.run_all(other, 1, ["ecc"], kept, kinds=["rendered"])
    assert len(ran) == 6  # another seed is another run


def test_registration_trials_have_the_truth_that_they_say(rng):
    trial = registration_trials.make_trial(SMALL_MATERIAL, "rendered", 3)
    again = registration_trials.make_trial(SMALL_MATERIAL, "rendered", 3)
    np.testing.assert_array_equal(trial.moving, again.moving)
    picture = rng.integers(0, 256, (60, 80, 3), np.uint8)
    picture = np.repeat(np.repeat(picture, 4, 0), 4, 1)
    first, second = registration_trials.two_shots(rng, picture, np.eye(3))
    assert first.shape == second.shape == picture.shape
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.7
    strange = registration_trials.make_trial(SMALL_MATERIAL, "unrelated", 0)
    assert strange.truth is None and strange.reference.shape == strange.moving.shape

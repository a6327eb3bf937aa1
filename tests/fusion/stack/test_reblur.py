"""The choice at edges of depth, refined by blurring the picture that it gave."""

import cv2
import numpy as np
import pytest

from edmf_jax.fusion.stack import PhotoOptions, fuse_photos, leveling, reblur, spill, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.reblur import Reblur, Source
from tests.helpers.scenes import scene

BORDER = 80  # the column at which the true choice changes


def blurred(picture, sigma=2.0):
    return cv2.GaussianBlur(picture, (0, 0), sigma).reshape(picture.shape)


def halves(truth, other=blurred):
    """Two shots, each of which shows `other(truth)` in the half where the other is the truth."""
    left = np.arange(truth.shape[1])[None, :, None] < BORDER
    return [np.where(left, truth, other(truth)), np.where(left, other(truth), truth)]


def sources(shots, border):
    """With weights that change from the first shot to the second within some px around a column."""
    def weights(sign):
        return lambda part: np.broadcast_to(
            1 / (1 + np.exp(sign * (np.arange(part[1].start, part[1].stop) - border) / 2)).astype(np.float32),
            (part[0].stop - part[0].start, part[1].stop - part[1].start))

    curves = np.tile(tone.GRID, (shots[0].shape[2], 1))
    leveled = leveling.level(curves, None, [curves], curves, shots[0].shape)
    return [Source(AlignedShot(shot, None, None, leveled), weights(sign)) for shot, sign in zip(shots, (1, -1))]


def refined(given, shape):
    """The weights of the first source after all rounds."""
    whole = (slice(0, shape[0]), slice(0, shape[1]))
    weights = np.stack([source.weights(whole) for source in given])
    rounds = Reblur(given, shape)
    images = np.stack([source.shot.image for source in given])
    mean = lambda: (weights[..., None] * images).sum(0) / weights.sum(0)[..., None]
    while rounds.learn(mean(), weights.argmax(0)):
        for part in rounds.parts(whole):
            weights[(slice(None), *part)] = rounds.weights(part)
    return weights[0] / weights.sum(0)


@pytest.mark.parametrize("border", [BORDER - 4, BORDER + 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_border_that_is_some_px_off_is_put_right(border, channels):
    truth = np.float32(scene(96, 160))[..., :channels]
    found = refined(sources(halves(truth), border), truth.shape) > 0.5
    before = np.abs(np.arange(160) - BORDER + 0.5) < 12
    right = np.arange(160) < BORDER
    assert (found == right)[:, before].mean() > 0.93
    assert ((np.arange(160) < border) == right)[before].mean() < 0.85  # what it was


def test_what_no_blur_explains_changes_nothing():
    truth, others = np.float32(scene(96, 160)), np.float32(scene(96, 160, seed=9))
    given = sources(halves(truth, lambda _: others), BORDER + 4)
    before = given[0].weights((slice(0, 96), slice(0, 160)))
    np.testing.assert_allclose(refined(given, truth.shape), before, atol=1e-6)


def test_noise_changes_nothing():
    rng = np.random.default_rng(0)
    shots = [np.float32(0.5 + 0.02 * rng.standard_normal((96, 160, 3))) for _ in range(2)]
    given = sources(shots, BORDER)
    np.testing.assert_allclose(refined(given, (96, 160, 3)), given[0].weights((slice(0, 96), slice(0, 160))), atol=0.02)


def test_far_from_any_border_weights_stay_as_they_were():
    truth = np.float32(scene(96, 160))
    given = sources(halves(truth), BORDER - 4)
    change = np.abs(refined(given, truth.shape) - given[0].weights((slice(0, 96), slice(0, 160))))
    assert change.max() > 0.5 and change[:, : BORDER - 40].max() == 0 and change[:, BORDER + 40 :].max() == 0


def test_a_shot_gets_nothing_where_it_has_nothing():
    truth = np.float32(scene(96, 160))
    given = sources(halves(truth), BORDER + 4)
    cut = given[1]._replace(weights=lambda part, of=given[1].weights: np.where(
        np.arange(part[0].start, part[0].stop)[:, None] < 40, 0, of(part)))
    assert (refined([given[0], cut], truth.shape)[:40] == 1).all()


def test_one_shot_alone_has_nothing_to_refine():
    assert not Reblur(sources([np.ones((64, 64, 1), np.float32)], 9), (64, 64)).learn(
        np.ones((64, 64, 1), np.float32), np.zeros((64, 64), np.uint8))


def test_islands_are_small_places_of_another_shot_than_before():
    before, after = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    after[5:8, 5:8] = 1  # 9 px
    after[10:20, 10:14] = 1  # 40 px
    after[:4, 20:24] = before[:4, 20:24] = 2  # 16 px, as before
    weights = (after == np.arange(3)[:, None, None]).astype(np.float32)
    expected = np.zeros((30, 40), bool)
    expected[5:8, 5:8] = True
    np.testing.assert_array_equal(reblur._islands(weights, before), expected)


def test_fused_pictures_are_nearer_to_the_truth_at_edges_of_depth(monkeypatch):
    truth = np.uint8(np.rint(255 * scene(128, 160)))
    given, error, near = halves(truth), {}, slice(BORDER - 10, BORDER + 10)
    for rounds in (0, 2):
        monkeypatch.setattr(reblur, "ROUNDS", rounds)
        fused = fuse_photos(given, options=PhotoOptions(align="none")).image
        error[rounds] = np.square(fused[:, near] - truth[:, near].astype(float))
    assert error[2].mean() < 0.5 * error[0].mean()


def test_in_temporary_files_or_in_memory_is_the_same_to_the_bit(monkeypatch):
    truth = np.uint8(np.rint(255 * scene(120, 160)))
    given, layers = [*halves(truth), np.uint8(blurred(truth, 1.0))], []
    keep = lambda number, picture, valid, weight: layers.append((number, picture, weight))
    expected = fuse_photos(given, options=PhotoOptions(align="none"), layers=keep)
    monkeypatch.setattr(spill, "KEPT_BYTES", 1.5 * truth.nbytes)
    stored, write = [], spill.DiskArray.of
    monkeypatch.setattr(spill.DiskArray, "of", lambda *given: stored.append(write(*given)) or stored[-1])
    found = fuse_photos(given, options=PhotoOptions(align="none"), layers=keep)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.sources, expected.sources)
    assert stored and len(layers) == 6
    for before, after in zip(layers[:3], layers[3:]):
        assert before[0] == after[0]
        np.testing.assert_array_equal(before[1], after[1])
        np.testing.assert_array_equal(before[2], after[2])


def test_without_room_for_temporary_files_weights_are_not_refined(monkeypatch):
    truth = np.uint8(np.rint(255 * scene(120, 160)))
    given = [*halves(truth), np.uint8(blurred(truth, 1.0))]
    with monkeypatch.context() as patch:
        patch.setattr(reblur, "ROUNDS", 0)
        expected = fuse_photos(given, options=PhotoOptions(align="none"))
    monkeypatch.setattr(spill, "KEPT_BYTES", 0)
    monkeypatch.setattr(spill, "roomy_folder", lambda _: None)
    found = fuse_photos(given, options=PhotoOptions(align="none"))
    assert np.abs(found.image.astype(int) - expected.image).max() <= 1
    np.testing.assert_array_equal(found.sources, expected.sources)

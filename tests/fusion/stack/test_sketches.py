"""The first reading of all shots: how often each is read, by several threads at once, and what is kept of it."""

import threading

import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, fuse_photos, shots, sketches
from edmf_jax.fusion.stack.bad_shots import BadShot
from edmf_jax.fusion.stack.shots import Kept, Masked
from edmf_jax.fusion.stack.sketches import Refused, Sketch, sketch_all

ALIGNED = PhotoOptions(align="none")


@pytest.fixture
def pictures(rng):
    return rng.integers(20, 230, (4, 40, 50, 3), np.uint8)


def looked(given, **options):
    given = [shots.as_masked(given[0]), *given[1:]]
    return sketch_all(given, [f"{i}.png" for i in range(len(given))], **{
        "with_views": False, "same_size": False, "white": None, "report": lambda what: None, **options})


def test_small_shots_are_read_once_and_large_ones_again(pictures, monkeypatch):
    counts = [0] * 4

    def shot(number):
        def read():
            counts[number] += 1
            return pictures[number]
        return read

    once = fuse_photos([shot(number) for number in range(4)], options=ALIGNED)
    assert counts == [1, 1, 1, 1]
    monkeypatch.setattr(shots, "_KEPT_BYTES", 0)
    again = fuse_photos([shot(number) for number in range(4)], options=ALIGNED)
    assert counts == [2, 3, 3, 3]
    np.testing.assert_array_equal(once.image, again.image)


def test_what_is_kept_is_given_away_once(pictures):
    kept, pictures = Kept(1), list(pictures)
    for number in range(3):
        kept.keep(number, Masked(pictures[number], None))
    kept.keep_only([2, 0])
    assert kept.take(1) is None and kept.take(2).image is pictures[2] and kept.take(2) is None
    assert kept.take(0).image is pictures[0]


def test_shots_are_read_at_the_same_time_and_stay_in_order(pictures, monkeypatch):
    monkeypatch.setattr(sketches, "usable_cores", lambda: 2)
    meeting, told = threading.Barrier(2, timeout=20), []

    def shot(number):
        def read():
            if number < 3:
                meeting.wait()  # the second and the third, after the first is done
            return pictures[number]
        return read

    found = looked([pictures[0], shot(1), shot(2), shot(3)], report=told.append)
    assert told == ["looking at 1.png", "looking at 2.png", "looking at 3.png"]
    assert [one.digest for one in found] == [shots.digest(picture) for picture in pictures]


def test_large_shots_are_read_one_after_the_other(pictures, monkeypatch):
    monkeypatch.setattr(sketches, "usable_cores", lambda: 8)
    assert sketches._workers(list(pictures)) == 4
    monkeypatch.setattr(sketches, "_READ_BYTES", 2 * pictures[0].nbytes)
    assert sketches._workers(list(pictures)) == 2
    monkeypatch.setattr(sketches, "_READ_BYTES", 1)
    assert sketches._workers([Masked(pictures[0], None), None]) == 1


def test_shots_are_held_against_the_first_that_can_be_used(pictures):
    def damaged():
        raise UserError("1.png: damaged; copy it again")

    given = [np.zeros((30, 30), np.uint8), damaged, pictures[0], pictures[1][1:], pictures[2]]
    found = looked(given, same_size=True)
    assert [type(one) for one in found] == [Refused, Refused, Sketch, Refused, Sketch]
    assert [one.error.reason for one in found if isinstance(one, Refused)] == [
        "it is black all over", "it can't be used: damaged; copy it again",
        "it has 50×39 px and the reference 2.png has 50×40 px"]
    assert found[0].shape == (30, 30, 1) and found[1].shape is None and isinstance(found[1].error, BadShot)
    with pytest.raises(UserError, match=r"2\.png: dtype is int64"):  # no picture: the caller's mistake
        looked([*pictures[:2], pictures[2].astype(np.int64)])

"""Shots that can't be placed: left out with a line before the long work, or the run stops and names all of them."""

import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, align_photos, fuse_photos
from edmf_jax.fusion.stack.alignment import align_sketches
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.fusion.stack.sketches import sketch
from tests.helpers.focus_stacks import SIZE, camera, focus_stack, take

NAMES = ["A", "B", "C", "D"]
BLANK = np.full((*SIZE, 3), 88, np.uint8)


@pytest.fixture(scope="module")
def good():
    return focus_stack(2, seed=3).images


@pytest.fixture(scope="module")
def wrong():
    """Shots of two other scenes."""
    return [take(0.5, camera(), seed=seed).images[0] for seed in (21, 22)]


@pytest.fixture(scope="module")
def sketched(good, wrong):
    """Sketches of two good shots, a wrong one, and one without content."""
    return [sketch(Masked(image, None), with_view=True) for image in (*good, wrong[0], BLANK)]


def aligned(sketched, numbers, **options):
    """The alignment of some of the sketches, and the lines about shots that are not used."""
    lines = []
    found = align_sketches([sketched[i] for i in numbers], [NAMES[i] for i in numbers], PhotoOptions(**options),
                           left_out=lambda name, reason: lines.append(f"{name}: {reason}"),
                           warn=lambda line: lines.append(f"warning: {line}"))
    return found, lines


def test_a_run_goes_on_without_a_shot_that_cannot_be_placed(good, wrong):
    events = []
    result = fuse_photos([good[0], wrong[0], good[1]], NAMES[:3], options=PhotoOptions(),
                         left_out=lambda name, reason: events.append((name, reason)),
                         progress=lambda what, share: events.append(what))
    ((name, reason),) = [event for event in events if isinstance(event, tuple)]
    assert name == "B" and reason.startswith("it can't be placed: to ") and reason.split("to ")[1][:2] in ("A:", "C:")
    assert events.index((name, reason)) < events.index("fusing")
    assert result.used == (0, 2) and dict(result.left_out) == {1: reason}
    assert len(result.registrations) == len(result.stops) == 2 and result.registrations[1].confident
    without = fuse_photos([good[0], good[1]], options=PhotoOptions())
    np.testing.assert_array_equal(result.image, without.image)
    np.testing.assert_array_equal(result.sources, without.sources)


@pytest.mark.parametrize(("numbers", "on_bad_shot"), [((0, 1, 2), "stop"), ((0, 2), "auto"), ((0, 2), "stop"),
                                                      ((0, 2), "skip")])
def test_a_run_stops_where_it_should(sketched, numbers, on_bad_shot):
    with pytest.raises(UserError) as caught:
        aligned(sketched, numbers, on_bad_shot=on_bad_shot)
    message = str(caught.value)
    assert "C: cannot be registered to " in message and "\n" not in message and "{" not in message
    assert "--align none" in message and "--align best-effort" in message
    assert ("--on-bad-shot skip" in message) == (len(numbers) == 3)  # of two shots one is no stack
    assert message.startswith("1 of 3 shots can't be placed: C: ") == (len(numbers) == 3)


def test_all_bad_shots_are_named_at_once(sketched):
    with pytest.raises(UserError, match=r"^2 of 4 shots can't be placed: ") as caught:
        aligned(sketched, (0, 1, 2, 3), on_bad_shot="stop")
    assert "C: cannot be registered to " in str(caught.value)
    assert "; D: cannot be registered, it shows nothing but one tone; check that" in str(caught.value)
    found, lines = aligned(sketched, (0, 1, 2, 3))
    assert found.used == (0, 1) and set(found.left_out) == {2, 3}
    assert [line[:24] for line in lines] == ["C: it can't be placed: t", "D: it can't be placed: i"]


def test_too_many_bad_shots_are_no_stack(sketched, wrong):
    blanks = [sketch(Masked(BLANK + i, None), with_view=True) for i in (1, 2, 3)]
    with pytest.raises(UserError, match=r"^3 of 5 shots can't be placed: .*--align best-effort") as caught:
        align_sketches([*sketched[:2], *blanks], list("ABXYZ"), PhotoOptions(on_bad_shot="skip"))
    assert "--on-bad-shot skip" not in str(caught.value)


def test_a_first_shot_that_cannot_be_placed_gives_its_place_to_another(good, wrong):
    other = good[1][:-20, :-30]
    lines, placed = [], []
    given = [wrong[0], good[0], other]
    result = fuse_photos(given, NAMES[:3], options=PhotoOptions(),
                         left_out=lambda name, reason: lines.append(name),
                         aligned=lambda found, sketches: placed.append(found))
    assert lines == ["A"] and result.used == (1, 2) and set(result.left_out) == {0}
    assert result.image.shape == given[1].shape and placed[0].used == result.used
    assert placed[0].registrations[1] is None and result.registrations[0] is None
    numbers = [number for number, *_ in align_photos(given, options=PhotoOptions())]
    assert tuple(numbers) == result.used


def test_best_effort_uses_an_uncertain_place_and_says_so(sketched):
    found, lines = aligned(sketched, (0, 1, 2), align="best-effort")
    assert found.used == (0, 1, 2) and not found.left_out
    assert not found.registrations[2].confident and found.registrations[1].confident
    assert len(lines) == 1 and lines[0].startswith("warning: C: its place is uncertain")
    # A shot without content has no best map.
    found, lines = aligned(sketched, (0, 1, 3), align="best-effort")
    assert found.used == (0, 1) and lines == ["D: it can't be placed: it shows nothing but one tone"]


def test_a_repeated_shot_is_left_out_of_three_and_refused_of_two(sketched):
    found, lines = aligned([*sketched[:2], sketched[0]], (0, 1, 2))
    assert found.used == (0, 1) and found.copies == {2}
    assert lines == ["warning: C: left out, it is the same picture as A"]
    with pytest.raises(UserError, match="B is the same picture as A; give every shot once"):
        aligned([sketched[0]] * 2, (0, 1))


def test_shots_that_are_registered_already_are_not_doubted(sketched):
    found, lines = aligned(sketched, (0, 1, 2, 3), align="none")
    assert found.used == (0, 1, 2, 3) and not lines
    assert set(found.registrations.values()) == {None}


BLACK, CLEAR = np.zeros((*SIZE, 3), np.uint8), Masked(BLANK, np.zeros(SIZE, bool))


def damaged():
    raise UserError("C: damaged in its middle; export it anew")


def without(given, **options):
    """The result of some shots of A to D, and the reasons of those that are left out, by name."""
    gone = {}
    result = fuse_photos(given, NAMES[: len(given)], options=PhotoOptions(**options), left_out=gone.__setitem__)
    assert {NAMES[number]: reason for number, reason in result.left_out.items()} == gone
    return result, gone


@pytest.mark.parametrize(("bad", "reason"), [
    (BLACK, "it is black all over"),
    (CLEAR, "it is transparent all over"),
    (BLANK[:15], f"it has {SIZE[1]}×15 px, but fusion takes at least 16×16 px"),
    (BLANK[..., 0], "it is gray and the reference A is color"),
    (damaged, "it can't be used: damaged in its middle; export it anew"),
])
def test_a_shot_that_cannot_be_used_is_left_out_of_three_and_refused_of_two(good, bad, reason):
    result, gone = without([good[0], good[1], bad], align="none")
    assert gone == {"C": reason} and result.used == (0, 1)
    np.testing.assert_array_equal(result.image, fuse_photos(good, options=PhotoOptions(align="none")).image)
    with pytest.raises(UserError, match=f"^C: {reason.replace('it ', 'this shot ', 1)}"):
        fuse_photos([good[0], bad], ["A", "C"], options=PhotoOptions(on_bad_shot="skip"))
    with pytest.raises(UserError, match=f"^1 of 3 shots can't be used: C: {reason}; .*--on-bad-shot skip goes on"):
        without([*good, bad], on_bad_shot="stop")


def test_a_shot_of_another_size_is_left_out_of_registered_ones(good):
    result, gone = without([*good, good[1][1:]], align="none")
    assert result.used == (0, 1) and gone == {
        "C": f"it has {SIZE[1]}×{SIZE[0] - 1} px and the reference A has {SIZE[1]}×{SIZE[0]} px"}


def test_a_first_shot_that_cannot_be_used_gives_its_place_to_the_next(good):
    other = good[1][:-20, :-30]
    result, gone = without([BLACK[..., 0], good[0], other])  # the others are held against the next one, too
    assert gone == {"A": "it is black all over"} and result.used == (1, 2)
    np.testing.assert_array_equal(result.image, fuse_photos([good[0], other], options=PhotoOptions()).image)
    aligned = {number: image.shape for number, image, *_ in align_photos([BLACK[..., 0], good[0], other],
                                                                         options=PhotoOptions())}
    assert aligned == {1: good[0].shape, 2: good[0].shape}


def test_shots_that_cannot_be_used_or_placed_are_told_together(good, wrong):
    result, gone = without([BLACK, good[0], wrong[0], good[1]])
    assert list(gone) == ["A", "C"] and gone["C"].startswith("it can't be placed: to ") and result.used == (1, 3)
    with pytest.raises(UserError, match=r"^2 of 3 shots can't be placed: A: it is black all over; C: cannot be reg"):
        fuse_photos([BLACK, good[0], wrong[0]], ["A", "B", "C"], options=PhotoOptions())
    with pytest.raises(UserError, match=r"^2 of 3 shots can't be used: A: it is .*; B: it is .*; leave them out$"):
        fuse_photos([BLACK, CLEAR, good[0]], NAMES[:3], options=PhotoOptions(on_bad_shot="skip"))


def test_an_unknown_choice_is_named(good):
    with pytest.raises(UserError, match="on_bad_shot='ignore' is unknown; use one of auto, skip, stop"):
        fuse_photos(good, options=PhotoOptions(on_bad_shot="ignore"))


def test_the_message_names_a_few_of_many_shots():
    rng = np.random.default_rng(0)
    small = [sketch(Masked(rng.integers(0, 255, (20, 20, 3), np.uint8), None), with_view=True) for _ in range(12)]
    with pytest.raises(UserError, match=r"11 of 12 shots .*: 1\.png: .*; 8\.png: .*; and 3 more; check that all"):
        align_sketches(small, [f"{i}.png" for i in range(12)], PhotoOptions())

"""What moved between the shots stands once; what is only out of focus, or lit otherwise, is left alone."""

import dataclasses

import cv2
import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, excluding, fuse_photos, motion_blurs, motion_match, motion_regions
from edmf_jax.fusion.stack.evidence import Evidence
from tests.helpers.focus_stacks import camera, take
from tests.helpers.scenes import scene

SIZE_PX = 36
PLACES = (30, 40), (140, 190), (40, 200)  # top and left, away from the near thing's edge


def still(count):
    """Shots from near to far that differ in focus and noise alone, uint8 `[200, 260, 3]`."""
    return [take(focus, camera(), noise_seed=i).images[0] for i, focus in enumerate(np.linspace(0, 1, count))]


def with_thing(image, place):
    """A shot with a striped disc, and bool `[H, W]`, where that is."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    inside = np.hypot(y - SIZE_PX / 2, x - SIZE_PX / 2) < SIZE_PX / 2 - 1
    color = np.where((x // 4 % 2)[..., None] > 0, [250, 240, 60], [200, 190, 40])
    planted, mask = image.copy(), np.zeros(image.shape[:2], bool)
    part = slice(place[0], place[0] + SIZE_PX), slice(place[1], place[1] + SIZE_PX)
    planted[part][inside] = color[inside]
    mask[part] = inside
    return planted, mask


def found_in(images):
    """`motion_regions.find_in` of shots that are aligned and leveled."""
    return motion_regions.find_in([motion_blurs.blurs(np.float32(image) / 255, np.ones(image.shape[:2], bool))
                                   for image in images])


def shares(result, shots, planted, masks):
    """How much of the thing the result shows in each place, 0 to 1."""
    found = []
    for shot, image, mask in zip(shots, planted, masks):
        thing = (image.astype(float) - shot)[mask]
        found.append(float(((result.astype(float) - shot)[mask] * thing).sum() / (thing * thing).sum()))
    return np.array(found)


@pytest.fixture(scope="module")
def stack():
    """Three still shots, the same with a thing in three places, and where it is."""
    shots = still(3)
    planted, masks = zip(*(with_thing(shot, place) for shot, place in zip(shots, PLACES)))
    return shots, list(planted), masks


@pytest.mark.parametrize("count", [2, 3])
def test_a_thing_that_moved_stands_once(stack, count):
    shots, planted, masks = (part[:count] for part in stack)
    lines = []
    once = fuse_photos(planted, options=PhotoOptions(align="none"), warn=lines.append)
    found = np.sort(shares(once.image, shots, planted, masks))
    assert found[-1] > 0.95 and (np.abs(found[:-1]) < 0.2).all()
    assert once.moved == count
    assert lines == [f"something moved in {count} places, and is shown as one shot has it; --moving as-found shows all "
                     "that is sharp"]
    as_found = fuse_photos(planted, options=PhotoOptions(align="none", moving="as-found"))
    assert (shares(as_found.image, shots, planted, masks) > 0.5).sum() > 1 and as_found.moved == 0


def test_the_order_of_the_others_has_no_effect(stack):
    _, planted, _ = stack
    results = [fuse_photos([planted[i] for i in order], options=PhotoOptions(align="none")).image
               for order in ((0, 1, 2), (0, 2, 1))]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("count", [2, 4])
def test_focus_alone_is_no_motion(count):
    assert found_in(still(count)) == motion_regions.NOTHING


@pytest.mark.parametrize("change", [
    lambda image, inside: np.where(inside, 0.75 * image, image),
    lambda image, inside: np.where(inside, np.minimum(image + 25.0, 255), image),
    lambda image, inside: np.roll(image, 2, axis=1),
], ids=["a darker object", "a hazy object", "two pixels of parallax"])
def test_light_and_parallax_are_no_motion(change):
    near, far = still(2)
    y, x = np.mgrid[:200, :260]
    inside = (((x + 0.5) / 340 + 40 / 340 - 0.42) / 0.24) ** 2 + ((y + 40) / 280 - 0.55) ** 2 / 0.09 < 1
    assert found_in([near, change(far.astype(float), inside[..., None])]).count == 0


def test_equal_shots_and_plain_ones_have_no_motion():
    plain = np.full((60, 80, 3), 90, np.uint8)
    assert found_in([plain, plain]).count == 0
    picture = np.uint8(255 * scene(60, 80))
    assert found_in([picture, picture]).count == 0
    assert found_in([picture[:16, :17], picture[1:17, :17]]).count == 0


def test_no_pixel_is_excluded_in_all_shots():
    """Two things whose surroundings overlap, each sharp in another shot."""
    first, second = still(2)
    first, _ = with_thing(first, (30, 150))
    second, _ = with_thing(second, (30, 194))
    moved = found_in([with_thing(first, (140, 200))[0], second])
    excluded = [moved.excluded.get(number, np.zeros((200, 260), bool)) for number in range(2)]
    assert moved.count >= 2 and not np.all(excluded, 0).any()


def test_a_shot_that_lacks_the_place_does_not_provide_it(stack):
    _, planted, _ = stack
    lacking = np.zeros((200, 260), bool)
    lacking[:, 130:] = True
    whole = np.ones((200, 260), bool)
    moved = motion_regions.find_in([motion_blurs.blurs(np.float32(image) / 255, usable)
                                    for image, usable in zip(planted[:2], (whole, lacking))])
    for mask in moved.excluded.values():
        small = cv2.resize(lacking.astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        assert not (mask & ~small).any()


def test_a_gray_stack_works(stack):
    shots, planted, masks = stack
    gray = lambda images: [image[..., 1] for image in images]
    once = fuse_photos(gray(planted), options=PhotoOptions(align="none"))
    found = np.sort(shares(once.image, gray(shots), gray(planted), masks))
    assert found[-1] > 0.95 and (np.abs(found[:-1]) < 0.2).all()


def test_masks_that_are_given_have_the_last_word(stack):
    _, planted, masks = stack
    result = fuse_photos(planted, options=PhotoOptions(align="none"),
                         weights_override=lambda number, rows, columns: np.full((200, 260), number == 1, np.float32))
    assert result.moved == 0
    np.testing.assert_allclose(result.image[masks[1]], planted[1][masks[1]], atol=2)


def test_evidence_does_not_count_where_it_is_excluded():
    evidence = Evidence(np.ones((40, 60), np.float16), np.zeros((5, 8), np.float32), None, None)
    excluded = np.zeros((20, 30), bool)
    excluded[5:10, 5:10] = True
    found = excluding.without(evidence, excluded)
    part = slice(0, 40), slice(0, 60)
    weight = found.blend_weight(part)
    assert (weight[10:20, 10:20] == 0).all() and (weight == 0).sum() == 100 and weight.max() == 1
    assert (found.logit(part)[10:20, 10:20] < -9000).all() and np.isclose(found.logit(part)[0, 0], 0, atol=1e-3)
    half = excluding.without(dataclasses.replace(evidence, weight=np.full((40, 60), 128, np.uint8)), excluded)
    np.testing.assert_array_equal(half.blend_weight((slice(8, 12), slice(9, 30))),
                                  128 / np.float32(255) * (weight[8:12, 9:30] > 0))


def test_neighbors_join_all_shots():
    rng = np.random.default_rng(0)
    details = [cv2.GaussianBlur(rng.random((48, 64)).astype(np.float32), (0, 0), 9) for _ in range(12)]
    pairs = motion_regions.neighbors(details)
    assert len(pairs) <= 3 * 12 and all(i < j for i, j in pairs)
    reached = {0}
    for _ in range(12):
        reached |= {k for pair in pairs if reached & set(pair) for k in pair}
    assert reached == set(range(12))
    assert motion_regions.neighbors(details[:3]) == [(0, 1), (0, 2), (1, 2)]


def test_a_thing_is_found_elsewhere(stack):
    shots, planted, masks = stack
    a, b = (motion_blurs.blurs(np.float32(image) / 255, np.ones((200, 260), bool)).planes() for image in planted[:2])
    there = motion_match.elsewhere(a, b, np.ones((200, 260), bool), masks[0])
    assert (there & masks[1]).sum() > 0.9 * masks[1].sum()
    c = motion_blurs.blurs(np.float32(shots[1]) / 255, np.ones((200, 260), bool)).planes()
    assert motion_match.elsewhere(a, c, np.ones((200, 260), bool), masks[0]) is None


def test_an_unknown_choice_is_refused():
    with pytest.raises(UserError, match="moving='twice' is unknown; use one of once, as-found"):
        PhotoOptions(moving="twice").check()

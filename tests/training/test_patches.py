import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.training import patches
from edmf_jax.training.patches import FILLER, PatchLayout

SIZES = [(40, 50), (33, 33), (64, 48), (41, 97)]
NAMES = list("abcd")


def test_stride_is_the_largest_that_gives_enough_patches():
    sizes = np.array(SIZES)
    for wanted in (5, 17, 100, 800):
        stride = patches.grid_stride(sizes, 32, wanted)
        assert patches.grid_counts(sizes, 32, stride).sum() >= wanted
        assert patches.grid_counts(sizes, 32, stride + 1).sum() < wanted


def test_table_has_the_wanted_number_of_different_patches_inside_the_images():
    table = patches.patch_table(SIZES, NAMES, 32, 100, seed=1)
    assert table.shape == (100, 3)
    assert len(np.unique(table, axis=0)) == 100
    assert (np.diff(table[:, 0]) >= 0).all()  # in image order: a shard needs few images
    height, width = np.array(SIZES)[table[:, 0]].T
    assert (table[:, 1] + 32 <= height).all()
    assert (table[:, 2] + 32 <= width).all()


def test_table_is_a_function_of_the_seed():
    draw = lambda seed: patches.patch_table(SIZES, NAMES, 32, 50, seed)
    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


def test_all_patches_of_a_grid_can_be_taken():
    possible = int(patches.grid_counts(np.array(SIZES), 32, 1).sum())
    assert len(patches.patch_table(SIZES, NAMES, 32, possible, 0)) == possible
    with pytest.raises(UserError, match=f"data.patches={possible + 1}.*only {possible} different"):
        patches.patch_table(SIZES, NAMES, 32, possible + 1, 0)


def test_a_patch_larger_than_an_image_names_it():
    message = r"data.patch_px=40 is larger than image b \(33×33 px; 1 such images of 4\).*at most 33"
    with pytest.raises(UserError, match=message):
        patches.patch_table(SIZES, NAMES, 40, 3, 0)


LAYOUTS = [
    PatchLayout(16, 4, 8), PatchLayout(17, 4, 8), PatchLayout(19, 8, 16), PatchLayout(8, 8, 8),
    PatchLayout(106_250, 8, 48), PatchLayout(5, 1, 3),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_patch_occurs_once_an_epoch(layout):
    order = layout.epoch_order(seed=3, epoch=2)
    assert order.shape == (layout.steps_per_epoch, layout.shards, layout.batch // layout.shards)
    bank_rows = order[order != FILLER]
    np.testing.assert_array_equal(np.sort(bank_rows), layout.bank_row_of_patch())
    assert layout.counts.sum() == layout.patches
    # No batch consists of fillers only.
    assert ((order != FILLER).sum((1, 2)) > 0).all()


@pytest.mark.parametrize("layout", LAYOUTS[:4], ids=str)
def test_devices_share_the_same_batches(layout):
    """For any number of devices, a step trains on the same set of bank rows."""
    logical = layout.epoch_order(5, 1)
    for devices in (d for d in (1, 2, 4, 8) if layout.shards % d == 0):
        rows_per_device = layout.bank_rows // devices
        order = layout.device_order(5, 1, devices)
        assert order.shape == (devices, layout.steps_per_epoch, layout.batch // devices)
        # No number twice in a batch, fillers included: XLA is told that the bank's rows are unique.
        assert all(len(set(batch)) == len(batch) for batch in order.reshape(-1, order.shape[-1]).tolist())
        for step in range(layout.steps_per_epoch):
            seen = [order[d, step][order[d, step] < rows_per_device] + d * rows_per_device for d in range(devices)]
            batch = logical[step][logical[step] != FILLER]
            np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.sort(batch.ravel()))


def test_order_depends_on_seed_and_epoch_alone():
    layout = PatchLayout(64, 4, 8)
    np.testing.assert_array_equal(layout.epoch_order(1, 2), layout.epoch_order(1, 2))
    assert (layout.epoch_order(1, 2) != layout.epoch_order(1, 3)).any()
    assert (layout.epoch_order(1, 2) != layout.epoch_order(2, 2)).any()


@pytest.mark.parametrize(("arguments", "message"), [
    ((16, 3, 8), "train.batch=8 can't be divided among data.logical_shards=3"),
    ((3, 4, 8), "data.patches=3 is less than data.logical_shards=4"),
    ((16, 0, 8), "must be positive"),
])
def test_impossible_layouts_say_why(arguments, message):
    with pytest.raises(UserError, match=message):
        PatchLayout(*arguments)


def test_devices_must_own_whole_shards():
    PatchLayout(16, 4, 8).check_devices(2)
    with pytest.raises(UserError, match="logical_shards=4 can't be divided among 3 devices"):
        PatchLayout(16, 4, 8).check_devices(3)


def test_shelves_do_not_overlap(rng):
    sizes = rng.integers(5, 40, (60, 2))
    corners, rows = patches.pack_shelves(sizes, 100)
    taken = np.zeros((rows, 100), int)
    for (top, left), (height, width) in zip(corners, sizes, strict=True):
        taken[top : top + height, left : left + width] += 1
    assert taken.max() == 1
    assert taken.sum() == sizes.prod(1).sum()
    assert taken.mean() > 0.75


def test_atlas_holds_the_pictures(rng):
    pairs = [rng.integers(0, 256, (2, h, w)).astype(np.uint8) for h, w in SIZES]
    atlas, corners = patches.pack_atlas(pairs, 120)
    for pair, (top, left) in zip(pairs, corners, strict=True):
        np.testing.assert_array_equal(atlas[:, top : top + pair.shape[1], left : left + pair.shape[2]], pair)
    with pytest.raises(ValueError, match="width=90 is less than the widest rectangle, 97"):
        patches.pack_atlas(pairs, 90)

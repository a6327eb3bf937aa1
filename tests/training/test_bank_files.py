"""Sets of remembered planes on the disk: exact, readable by any number of devices, never half taken for whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.core.memory import EMPTY, init_bank
from edmf_jax.errors import UserError
from edmf_jax.training import bank_files
from edmf_jax.training.bank_files import BankFiles, copy_slot, differences, restore_images, undo_differences
from edmf_jax.training.host_bank import HostImages, HostShard
from edmf_jax.training.state import DEVICES

PLANES = np.random.default_rng(3).integers(0, 256, (8, 3, 5, 7), np.uint8)  # 8 rows of 3 slots


def split(devices, **options):
    return NamedSharding(Mesh(np.array(jax.devices()[:devices]), (DEVICES,)), PartitionSpec(DEVICES), **options)


def test_differences_by_hand():
    assert differences(np.array([[10, 12], [11, 9]], np.uint8)).tolist() == [[10, 2], [1, 252]]  # 9 − 11 − 12 + 10 = −4


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 6), (3, 6, 1), (4, 5, 7)])
def test_differences_are_undone_exactly(shape, rng):
    planes = rng.integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(undo_differences(differences(planes)), planes)


@pytest.fixture(params=[2, 4096])
def files(request, tmp_path, monkeypatch):
    """Sets in blocks of few planes, so that a device's part is several, and in one block."""
    monkeypatch.setattr(bank_files, "ROWS_AT_ONCE", request.param)
    monkeypatch.setattr(bank_files, "_ROWS_A_CHUNK", min(request.param, 256))
    return BankFiles(tmp_path)


@pytest.mark.parametrize(("wrote", "reads"), [(4, 1), (1, 4), (2, 4), (4, 4)])
def test_another_number_of_devices_reads_the_same_planes(files, wrote, reads):
    images = jax.device_put(PLANES, split(wrote))
    for name, slot in (("a", 2), ("b", 0)):
        files.write(name, copy_slot(images, slot))
    np.testing.assert_array_equal(files.read("a", 1, 7), PLANES[1:7, 2])
    for kind in ("device", "pinned_host"):
        like = jax.ShapeDtypeStruct(PLANES.shape, np.uint8, sharding=split(reads, memory_kind=kind))
        found = restore_images(files, {"a": 2, "b": 0}, like)
        assert found.sharding == like.sharding
        np.testing.assert_array_equal(found, np.stack([PLANES[:, 0], 0 * PLANES[:, 1], PLANES[:, 2]], 1))


def test_a_bank_in_host_memory_writes_the_same_files(files):
    shards = [HostShard((slice(first, first + 4),), PLANES[first:first + 4]) for first in (0, 4)]
    hosted = copy_slot(HostImages(PLANES.shape, shards), 1)
    on_devices = copy_slot(jax.device_put(PLANES, split(2)), 1)
    for a, b in zip(hosted, on_devices, strict=True):
        assert [first for first, _ in a] == [first for first, _ in b]
        jax.tree.map(np.testing.assert_array_equal, [block for _, block in a], [block for _, block in b])


def test_smooth_planes_take_less_than_half_of_their_size(tmp_path):
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    files = BankFiles(tmp_path)
    files.write("a", [[(0, np.repeat(ramp[None], 9, 0))]])
    assert 0 < files.nbytes() < 9 * 64**2 / 2
    np.testing.assert_array_equal(files.read("a", 8, 9)[0], ramp)


def test_a_leftover_is_replaced_and_a_missing_part_is_named(tmp_path):
    files = BankFiles(tmp_path)
    files.write("epoch-00001", [[(0, np.full((4, 5, 7), 7, np.uint8))]])
    files.write("epoch-00001", [[(0, PLANES[:4, 0])]])
    np.testing.assert_array_equal(files.read("epoch-00001", 0, 4), PLANES[:4, 0])
    with pytest.raises(UserError, match="epoch-00001: 4 of the 8 remembered pictures are there"):
        files.read("epoch-00001", 0, 8)
    files.remove(["epoch-00001"])
    assert files.present() == []
    with pytest.raises(UserError, match="0 of the 8"):
        files.read("epoch-00001", 0, 8)


def test_a_checkpoint_needs_the_filled_slots_and_in_mid_epoch_the_running_one():
    bank = init_bank(4, 3, 8)
    assert bank_files.set_names(bank, 6, mid_epoch=False) == {}
    full = dataclasses.replace(bank, slots=jnp.array([3, 1, 0]), epochs=jnp.array([7, EMPTY, 12]), free=jnp.int32(2))
    assert bank_files.set_names(full, 6, mid_epoch=False) == {"epoch-00007": 3, "epoch-00012": 0}
    assert bank_files.set_names(full, 6, mid_epoch=True) == {"epoch-00007": 3, "epoch-00012": 0, "step-00000006": 2}

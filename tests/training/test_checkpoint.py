"""What a checkpoint writes and needs, and what an error while saving means."""

import dataclasses
import errno
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.memory import admit, init_bank
from edmf_jax.errors import UserError
from edmf_jax.training import checkpoint
from edmf_jax.training.bank_files import BankFiles
from edmf_jax.training.checkpoint import BEST_METRIC, Checkpoints, _disk_errors
from edmf_jax.training.state import TrainState


def raised(error, kept=(4, 8)):
    with pytest.raises(Exception) as caught, _disk_errors(Path("/w/checkpoints"), list(kept)):
        raise error
    return caught.value


DEVICE = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 34842083328 bytes.")
HOST = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: CUDA_ERROR_OUT_OF_MEMORY: out of memory")
BARE = ValueError("RESOURCE_EXHAUSTED: Failed to allocate request for 2.0GiB")
# As tensorstore words them.
DISK = ValueError('RESOURCE_EXHAUSTED: Error writing "/w/d/0": Failed to write: No space left on device [OS error 28]')
TOO_LARGE = ValueError('Error writing "/w/d/0": File too large [OS error 27: EFBIG]')
QUOTA = ValueError('RESOURCE_EXHAUSTED: Error writing "/w/d/0": Disk quota exceeded [OS error 122: EDQUOT]')


@pytest.mark.parametrize("error", [DEVICE, HOST, BARE, MemoryError()], ids=["device", "host", "bare", "python"])
def test_exhausted_memory_is_not_called_a_full_disk(error):
    text = str(raised(error))
    assert "out of memory" in text and "disk" not in text
    assert "checkpoint is step 8" in text and "memory.kind to snapshots" in text and "\n" not in text


@pytest.mark.parametrize("error", [DISK, TOO_LARGE, QUOTA, *(OSError(number, os.strerror(number)) for number in (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG))], ids=str)
def test_a_full_disk_is_said(error):
    text = str(raised(error))
    assert "the disk is full; the last good checkpoint is step 8; free some space" in text and "memory" not in text
    assert "no checkpoint had been saved before" in str(raised(error, kept=()))


@pytest.mark.parametrize("error", [
    ValueError("shapes differ"), OSError(errno.EIO, "Input/output error"), KeyError("params"),
    jax.errors.JaxRuntimeError("INTERNAL: something else"), KeyboardInterrupt(),
], ids=repr)
def test_any_other_error_is_passed_on_as_it_is(error):
    with pytest.raises(type(error)) as caught, _disk_errors(Path("/w"), [4]):
        raise error
    assert caught.value is error and not isinstance(error, UserError)


def state(step):
    return TrainState(step=jnp.int32(step), params={"conv1": {"bias": jnp.full(3, step, jnp.float32)}}, opt_state=(),
                      bank=jnp.zeros(7, jnp.uint8))


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    checkpoints.save(1, state(1))
    checkpoints.wait()
    needed = sum(x.nbytes for x in jax.tree.leaves(state(2)))
    usage = type("Usage", (), {"free": needed - 1})
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="the disk is full; the last good checkpoint is step 1"):
        checkpoints.save(2, state(2))
    assert checkpoints.steps == [1]
    usage.free = needed
    checkpoints.save(2, state(2))
    checkpoints.close()
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["1", "2"]


def test_half_written_checkpoints_are_no_checkpoints_and_go_when_a_run_opens_the_folder(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    checkpoints.save(1, state(1))
    checkpoints.close()
    folder = tmp_path / "checkpoints"
    torn = folder / "2.orbax-checkpoint-tmp"
    torn.mkdir()
    (torn / "half").write_bytes(b"x")
    reader = Checkpoints(tmp_path)
    assert reader.steps == [1] and torn.exists()  # a reader changes nothing
    found = reader.restore_params(1, state(1).params)
    reader.close()
    np.testing.assert_array_equal(found["conv1"]["bias"], np.full(3, 1, np.float32))
    writer = Checkpoints(tmp_path, keep_last=2)
    assert writer.steps == [1]
    writer.save(2, state(2))
    writer.close()
    assert sorted(os.listdir(folder)) == ["1", "2"]


# --- the remembered planes: a bank of two epochs; every epoch has 10 steps and is admitted if it is sharp enough


def epoch_of(current, epoch, sharpness):
    """The state after another epoch, whose planes are all `epoch`, and whether it was admitted."""
    bank = current.bank
    bank = dataclasses.replace(bank, images=bank.images.at[:, bank.free].set(epoch))
    bank, admitted = admit(bank, epoch, jnp.float32(sharpness))
    return dataclasses.replace(current, step=jnp.int32(10 * epoch), bank=bank), bool(admitted)


def run_epochs(checkpoints, sharpnesses):
    """Saves at each epoch's end; the states by step."""
    current, states = dataclasses.replace(state(0), bank=init_bank(4, 2, 16)), {}
    for epoch, sharpness in enumerate(sharpnesses, 1):
        current, _ = epoch_of(current, epoch, sharpness)
        checkpoints.save(10 * epoch, current, {BEST_METRIC: sharpness})
        checkpoints.wait()
        states[10 * epoch] = current
    return states


def shapes_of(current):
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), current)


def assert_restores(checkpoints, step, expected):
    found = checkpoints.restore(step, shapes_of(expected))
    free = int(expected.bank.free)
    blank = expected.bank.images.at[:, free].set(0)  # what the next epoch will overwrite is not kept
    jax.tree.map(np.testing.assert_array_equal, found,
                 dataclasses.replace(expected, bank=dataclasses.replace(expected.bank, images=blank)))


def written(workdir):
    """All files of sets, with when each was written."""
    return {path.relative_to(workdir / "memory").as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in (workdir / "memory").rglob("*") if path.is_file()}


def test_an_epoch_writes_its_own_planes_once_and_they_go_when_no_checkpoint_needs_them(tmp_path):
    checkpoints, files = Checkpoints(tmp_path, keep_last=2), BankFiles(tmp_path)
    states = run_epochs(checkpoints, [0.5, 0.6])
    before = written(tmp_path)
    assert files.present() == ["epoch-00001", "epoch-00002"]
    current, admitted = epoch_of(states[20], 3, 0.7)  # takes the place of epoch 1
    assert admitted
    checkpoints.save(30, current, {BEST_METRIC: 0.7})
    checkpoints.wait()
    assert files.present() == ["epoch-00001", "epoch-00002", "epoch-00003"]  # step 20 needs epoch 1
    after = written(tmp_path)
    assert before == {name: after[name] for name in before}
    unchanged, admitted = epoch_of(current, 4, 0.1)
    assert not admitted
    checkpoints.save(40, unchanged, {BEST_METRIC: 0.1})
    checkpoints.close()
    assert files.present() == ["epoch-00002", "epoch-00003"]
    reader = Checkpoints(tmp_path)
    assert_restores(reader, 30, current)
    assert_restores(reader, 40, unchanged)
    reader.close()


def test_the_best_is_kept_for_its_parameters(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=1, keep_best=1)
    states = run_epochs(checkpoints, [0.3, 0.9, 0.8, 0.85, 0.5])
    checkpoints.close()
    assert BankFiles(tmp_path).present() == ["epoch-00002", "epoch-00004"]
    reader = Checkpoints(tmp_path)
    assert reader.steps == [20, 50] and reader.best_step() == 20
    found = reader.restore_params(20, states[20].params)
    np.testing.assert_array_equal(found["conv1"]["bias"], states[20].params["conv1"]["bias"])
    with pytest.raises(UserError, match="epoch-00001: 0 of the 4 remembered pictures are there"):
        reader.restore(20, shapes_of(states[20]))
    assert_restores(reader, 50, states[50])
    reader.close()


def test_a_checkpoint_in_mid_epoch_has_what_the_epoch_wrote_so_far(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    after = run_epochs(checkpoints, [0.5])[10]
    half = dataclasses.replace(after.bank, images=after.bank.images.at[:2, after.bank.free].set(99))
    after = dataclasses.replace(after, step=jnp.int32(13), bank=half)
    checkpoints.save(13, after)
    checkpoints.wait()
    assert BankFiles(tmp_path).present() == ["epoch-00001", "step-00000013"]
    jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(13, shapes_of(after)), after)
    current, _ = epoch_of(after, 2, 0.6)
    checkpoints.save(20, current, {BEST_METRIC: 0.6})
    checkpoints.close()
    assert BankFiles(tmp_path).present() == ["epoch-00001", "epoch-00002"]


def test_a_checkpoint_of_before_which_holds_its_bank_whole_restores_and_the_run_goes_on(tmp_path):
    old, _ = epoch_of(dataclasses.replace(state(0), bank=init_bank(4, 2, 16)), 1, 0.5)
    old, _ = epoch_of(old, 2, 0.6)
    run = {"step": old.step, "opt_state": old.opt_state, "bank": old.bank}
    with checkpoint._orbax().training.Checkpointer(tmp_path / "checkpoints") as checkpointer:
        checkpointer.save_checkpointables(20, {"params": old.params, "run": run}, metrics={BEST_METRIC: 0.6})
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(20, shapes_of(old)), old)
    current, _ = epoch_of(old, 3, 0.7)
    checkpoints.save(30, current, {BEST_METRIC: 0.7})
    checkpoints.close()
    assert BankFiles(tmp_path).present() == ["epoch-00002", "epoch-00003"]
    reader = Checkpoints(tmp_path)
    assert_restores(reader, 30, current)
    reader.close()


def test_planes_are_on_the_disk_before_the_checkpoint_that_names_them(tmp_path, monkeypatch):
    """Killed while the planes are written: the checkpoint before is there, whole, and leftovers go."""
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    states, write = run_epochs(checkpoints, [0.5, 0.6]), BankFiles.write
    current, _ = epoch_of(states[20], 3, 0.7)

    def write_and_fail(self, name, devices):
        write(self, name, devices)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(BankFiles, "write", write_and_fail)
    checkpoints.save(30, current, {BEST_METRIC: 0.7})
    with pytest.raises(UserError, match="the disk is full"):
        checkpoints.wait()
    checkpoints.close()
    monkeypatch.undo()
    assert "30" not in os.listdir(tmp_path / "checkpoints") and "epoch-00003" in BankFiles(tmp_path).present()
    again = Checkpoints(tmp_path, keep_last=1)
    assert again.steps == [20] and BankFiles(tmp_path).present() == ["epoch-00001", "epoch-00002"]
    assert_restores(again, 20, states[20])
    again.save(30, current, {BEST_METRIC: 0.7})
    again.wait()
    assert_restores(again, 30, current)
    again.close()


def test_room_for_the_new_planes_alone_is_asked_for(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    current, _ = epoch_of(run_epochs(checkpoints, [0.5, 0.6])[20], 3, 0.7)
    rest = sum(x.nbytes for x in jax.tree.leaves(current)) - current.bank.images.nbytes
    usage = type("Usage", (), {"free": rest + 4 * 16 * 16 - 1})
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="the disk is full; the last good checkpoint is step 20"):
        checkpoints.save(30, current, {BEST_METRIC: 0.7})
    usage.free += 1
    checkpoints.save(30, current, {BEST_METRIC: 0.7})
    checkpoints.close()
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["30"]

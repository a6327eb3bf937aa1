"""What a checkpoint writes and needs, and that a save that failed leaves nothing running."""

import dataclasses
import errno
import os
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.memory import admit, init_bank
from edmf_jax.errors import UserError
from edmf_jax.training import checkpoint, save_errors
from edmf_jax.training.bank_files import BankFiles
from edmf_jax.training.checkpoint import BEST_METRIC, Checkpoints
from edmf_jax.training.state import TrainState


def state(step):
    return TrainState(step=jnp.int32(step), params={"conv1": {"bias": jnp.full(3, step, jnp.float32)}}, opt_state=(),
                      bank=jnp.zeros(7, jnp.uint8))


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    checkpoints.save(1, state(1))
    checkpoints.wait()
    needed = sum(x.nbytes for x in jax.tree.leaves(state(2)))
    usage = type("Usage", (), {"free": needed - 1})
    monkeypatch.setattr(save_errors.shutil, "disk_usage", lambda folder: usage)
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
    with pytest.raises(UserError, match="the disk is full; the last good checkpoint is step 20;"):
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
    monkeypatch.setattr(save_errors.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="the disk is full; the last good checkpoint is step 20"):
        checkpoints.save(30, current, {BEST_METRIC: 0.7})
    usage.free += 1
    checkpoints.save(30, current, {BEST_METRIC: 0.7})
    checkpoints.close()
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["30"]


# --- a save that fails


DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class LatePart:
    """A part of a checkpoint that is still being written when another has failed."""

    def __init__(self):
        self.failed, self.done = threading.Event(), False

    async def save(self, directory):
        return self._write(directory)

    async def _write(self, directory):
        folder = Path(os.fspath(await directory.await_creation()))
        assert self.failed.wait(30)
        time.sleep(0.3)
        (folder / "late").write_bytes(b"x")
        self.done = True

    async def load(self, directory):
        raise NotImplementedError


def test_a_save_that_fails_ends_when_all_its_parts_are_written(tmp_path, monkeypatch):
    """Otherwise a run that goes on in the same process finds files appearing in the folder that it removes."""
    checkpoints, late, parts = Checkpoints(tmp_path, keep_last=1), LatePart(), checkpoint._parts
    states = run_epochs(checkpoints, [0.5, 0.6])
    current, _ = epoch_of(states[20], 3, 0.7)

    def fail(self, name, devices):
        late.failed.set()
        raise DISK_FULL

    with monkeypatch.context() as patch:
        patch.setattr(BankFiles, "write", fail)
        # Orbax waits for the parts in the order of their names: the planes, "remembered", before this one.
        patch.setattr(checkpoint, "_parts", lambda state: {**parts(state), "written_last": late})
        checkpoints.save(30, current, {BEST_METRIC: 0.7})
        with pytest.raises(UserError, match="the last good checkpoint is step 20;"):
            checkpoints.wait()
    assert late.done
    assert checkpoints.steps == [20]
    checkpoints.save(30, current, {BEST_METRIC: 0.7})  # the same Checkpoints are as good as new
    checkpoints.wait()
    assert checkpoints.steps == [30] and os.listdir(tmp_path / "checkpoints") == ["30"]
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "30").iterdir() if path.is_dir()) == [
        "metrics", "params", "remembered", "run"]
    assert_restores(checkpoints, 30, current)
    checkpoints.close()
    assert not [t for t in threading.enumerate() if type(t).__module__.startswith("orbax.")]


def test_a_folder_that_cannot_be_made_ends_the_save_at_once(tmp_path, monkeypatch):
    checkpoints, mkdir = Checkpoints(tmp_path, keep_last=1), os.mkdir
    checkpoints.save(1, state(1))
    checkpoints.wait()

    def failing_mkdir(path, *args, **options):
        if "params" in os.fspath(path):
            raise DISK_FULL
        mkdir(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", failing_mkdir)
        began = time.monotonic()
        with pytest.raises(UserError, match="the last good checkpoint is step 1;"):
            checkpoints.save(2, state(2))
        assert time.monotonic() - began < 20  # orbax lets threads wait 300 s for a folder
    checkpoints.save(2, state(2))
    checkpoints.close()
    assert os.listdir(tmp_path / "checkpoints") == ["2"]

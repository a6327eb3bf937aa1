"""What an error while saving means: a full disk, exhausted memory, or neither."""

import errno
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.training import checkpoint
from edmf_jax.training.checkpoint import Checkpoints, _disk_errors
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

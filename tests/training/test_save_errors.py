"""What an error while saving means to a user."""

import errno
import os
from pathlib import Path

import jax
import pytest

from edmf_jax.errors import UserError
from edmf_jax.training.save_errors import disk_errors


def raised(error, kept=(4, 8)):
    with pytest.raises(Exception) as caught, disk_errors(Path("/w/checkpoints"), lambda: list(kept)):
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
    with pytest.raises(type(error)) as caught, disk_errors(Path("/w"), lambda: [4]):
        raise error
    assert caught.value is error and not isinstance(error, UserError)

"""Arrays that wait in temporary files."""

import concurrent.futures
import os
import shutil

import numpy as np
import pytest

from edmf_jax.fusion.stack.spill import DiskArray, roomy_folder


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, bool])
def test_parts_are_those_of_the_array(tmp_path, dtype):
    array = (np.arange(50 * 40 * 3).reshape(50, 40, 3) % 251).astype(dtype)
    kept = DiskArray.of(array[::-1], tmp_path)  # not contiguous
    assert kept.shape == array.shape and kept.dtype == array.dtype and kept.nbytes == 0
    for part in ((slice(3, 17), slice(0, 40)), (slice(None), slice(5, 6)), (..., 0)):
        np.testing.assert_array_equal(kept[part], array[::-1][part])


def test_threads_read_at_once(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (256, 64), np.uint8)
    kept = DiskArray.of(array, tmp_path)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda i: kept[i : i + 1, :], range(256)))
    np.testing.assert_array_equal(np.concatenate(rows), array)


def test_parts_are_written(tmp_path):
    kept, expected = DiskArray((3, 30, 20), np.uint16, tmp_path), np.zeros((3, 30, 20), np.uint16)
    kept[1, 4:9, 3:20] = expected[1, 4:9, 3:20] = np.arange(85).reshape(5, 17) + 0.0
    np.testing.assert_array_equal(kept[...], expected)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere open files keep their names")
def test_files_have_no_name_and_end_with_the_array(tmp_path):
    kept = DiskArray((10, 10), np.uint8, tmp_path)
    assert not list(tmp_path.iterdir())
    del kept


def test_the_folder_is_the_one_asked_for_if_it_has_room(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    free = shutil.disk_usage(tmp_path).free
    assert roomy_folder(free / 8) == str(tmp_path) and roomy_folder(free) is None

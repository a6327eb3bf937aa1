"""MATLAB files give the arrays that were saved; others are refused in one line."""

import numpy as np
import pytest
import scipy.io

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.weights.matlab_file import read_matlab


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.mat"


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back(path, rng, compressed):
    arrays = {"weights": rng.standard_normal((9, 64)).astype(np.float32), "third": rng.standard_normal((2, 3, 4))}
    scipy.io.savemat(path, {**arrays, "name": "text"}, do_compression=compressed)
    found = read_matlab(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_other_files_are_refused(path, rng):
    def refused(words):
        with pytest.raises(UserError, match=words) as caught:
            read_matlab(path, hint="get it from A/B")
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    for data in (b"", b"text", b"\x89HDF"):
        path.write_bytes(data)
        refused("not a MATLAB file; get it from A/B")
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600))
    refused("version 7.3 .* save it with the option -v7")
    scipy.io.savemat(path, {"name": "text"})
    refused("without numeric arrays")
    scipy.io.savemat(path, {"weights": rng.standard_normal((9, 64))})
    whole = path.read_bytes()
    for end in (127, 130, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        refused("truncated or damaged .* download it again" if end > 128 else "truncated|without|not a MATLAB")
    with pytest.raises(MissingFileError, match="no such file"):
        read_matlab(path.with_name("gone.mat"))

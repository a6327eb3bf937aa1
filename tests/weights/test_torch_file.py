"""Both of PyTorch's formats give the tensors that were saved; what is damaged or asks for more is refused."""

import collections
import os
import pickle

import numpy as np
import pytest

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.weights.torch_file import read_torch
from tests.helpers.files import shared_file
from tests.helpers.torch_files import Storage, Tensor, as_state, plain, stand_in, write_legacy, write_zip

WRITERS = {"zip": write_zip, "legacy": write_legacy}


@pytest.fixture(autouse=True)
def torch_names(monkeypatch):
    stand_in(monkeypatch)


@pytest.fixture
def tensors(rng):
    return {"a.weight": rng.standard_normal((4, 3, 2, 5)).astype(np.float32), "a.bias": np.arange(4.0),
            "bn.count": np.array(7), "half": rng.standard_normal(6).astype(np.float16)}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    return lambda state, **options: WRITERS[request.param](tmp_path / "x.pth", state, **options)


def refused(path, *words):
    with pytest.raises(UserError) as caught:
        read_torch(path, hint="get it from A/B")
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith("get it from A/B")
    assert all(word in message for word in words), message


def test_tensors_come_back_with_their_shapes_and_types(write, tensors):
    found = read_torch(write(as_state(tensors)))
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


def test_views_of_one_storage(write):
    storage = Storage(np.arange(24, dtype=np.float32))
    found = read_torch(write({"x": Tensor(storage, (2, 3), (1, 4), 5), "y": Tensor(storage, (24,), (1,))}))
    np.testing.assert_array_equal(found["x"], [[5, 9, 13], [6, 10, 14]])
    np.testing.assert_array_equal(found["y"], np.arange(24))


def test_a_checkpoint_of_a_training_and_names_of_data_parallel(write, tensors):
    inner = as_state({f"module.{name}": array for name, array in tensors.items()})
    checkpoint = {"epoch": 3, "state_dict": inner, "optimizer": {"state": [{"step": plain(np.zeros(2, np.float32))}]}}
    found = read_torch(write(checkpoint))
    assert list(found) == list(tensors)
    np.testing.assert_array_equal(found["a.weight"], tensors["a.weight"])


@pytest.mark.parametrize(("file", "arrays", "count"), [
    ("GACN/GACN.pkl", "GACN/gacn", 61), ("SESF/lp+lssim_se_sf_net_times30.pkl", "SESF/sesf", 56)])
def test_published_files_of_the_older_format(file, arrays, count):
    found = read_torch(shared_file(f"comparators/originals/{file}"))
    with np.load(shared_file(f"comparators/weights/{arrays}.npz")) as expected:
        assert len(expected.files) == count
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name])
    assert {name.rsplit(".", 1)[-1] for name in found.keys() - expected.files} == {"num_batches_tracked"}


# --- what it refuses


class Call:
    def __reduce__(self):
        return os.mkdir, ("called",)


def test_nothing_that_a_pickle_names_is_called(write, tensors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for state in (Call(), as_state(tensors, extra=Call()), {"state_dict": {}, "optimizer": Call()}):
        refused(write(state), "names", ".mkdir", "was not called")
        assert not os.path.exists("called")


@pytest.mark.parametrize("position", range(3))
def test_nor_by_the_pickles_before_the_tensors(tmp_path, monkeypatch, position):
    monkeypatch.chdir(tmp_path)
    write_legacy(tmp_path / "x.pth", {}, magic=Call()) if position == 0 else None
    if position:
        head = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)][:position]
        (tmp_path / "x.pth").write_bytes(b"".join([*head, pickle.dumps(Call(), 2)]))
    refused(tmp_path / "x.pth", ".mkdir", "was not called")
    assert not os.path.exists("called")


def test_truncated_files_are_refused(write, tensors):
    path = write(as_state(tensors))
    whole = path.read_bytes()
    for end in (4, 40, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        refused(path)


def test_lengths_and_views_that_do_not_fit_are_refused(tmp_path, write, tensors):
    refused(write(as_state(tensors), lengths=5), "numbers instead of 5")
    refused(write_legacy(tmp_path / "v.pth", as_state(tensors), view=(("0", 0, 3),)), "is a view")
    outside = Tensor(Storage(np.zeros(4, np.float32)), (3,), (2,))
    refused(write({"x": outside}), "exceed a storage of 4")


def test_other_content_is_refused(tmp_path, write):
    refused(write([1, 2]), "holds a list")
    refused(write(collections.OrderedDict(epoch=3)), "'epoch' is not a tensor")
    path = tmp_path / "other"
    for data in (b"", b"text", pickle.dumps({"a": 1}), b"\x89HDF\r\n\x1a\n"):
        path.write_bytes(data)
        refused(path, "not a PyTorch file")
    with pytest.raises(MissingFileError, match=r"gone\.pth: no such file; get it from its authors"):
        read_torch(tmp_path / "gone.pth")

"""The authors' PyTorch file is read without PyTorch and without calling what it names; other files are refused."""

import os
import pickle
import zipfile

import jax
import numpy as np
import pytest

from edmf_jax.core.model import init_params, make_model
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.weights.mufusion import MUFUSION_WIDTH, import_mufusion
from edmf_jax.weights.params import flatten
from edmf_jax.weights.store import load_weights, save_weights
from tests.helpers.files import nest, shared_file
from tests.helpers.torch_files import Storage, Tensor, as_state, plain, stand_in, write_zip


@pytest.fixture
def write_torch(tmp_path, monkeypatch):
    """A function that writes a file as `torch.save` does."""
    stand_in(monkeypatch)
    return lambda state, name="x.model", **options: write_zip(tmp_path / name, state, **options)


@pytest.fixture(scope="module")
def tensors():
    """A network of MUFusion's size under the authors' names, OIHW."""
    rng = np.random.default_rng(5)
    shapes = jax.eval_shape(lambda key: init_params(make_model(MUFUSION_WIDTH), key), jax.random.key(0))
    state = {}
    for layer, leaves in shapes.items():
        kernel = rng.standard_normal(leaves["kernel"].shape).astype(np.float32)
        state[f"{layer}.1.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        state[f"{layer}.1.bias"] = rng.standard_normal(leaves["bias"].shape).astype(np.float32)
    return state


def refused(path, *words):
    with pytest.raises(UserError) as caught:
        import_mufusion(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and "AWCXV/MUFusion" in message
    for word in words:
        assert word in message, message


# --- what it reads


def test_published_file_is_the_published_npz(tmp_path):
    weights = import_mufusion(shared_file("mufusion/multi-focus.model"))
    with np.load(shared_file("mufusion/multi-focus.npz")) as arrays:
        jax.tree.map(np.testing.assert_array_equal, weights.params, nest(dict(arrays)))
    assert weights.provenance["file_sha256"].startswith("2c1bcfb9") and weights.provenance["license"] == "MIT"
    save_weights(tmp_path / "w", weights.params, weights.config, provenance=weights.provenance)
    back = load_weights(tmp_path / "w")
    jax.tree.map(np.testing.assert_array_equal, back.params, weights.params)
    assert back.model == make_model(32) and back.provenance == weights.provenance


@pytest.mark.parametrize("prefix", ["archive", "Final", "a/b"])
def test_tensors_come_back_as_hwio(write_torch, tensors, prefix):
    flat = flatten(import_mufusion(write_torch(as_state(tensors), prefix=prefix)).params)
    assert len(flat) == len(tensors) == 24
    for key, array in tensors.items():
        layer, _, kind = key.split(".")
        mine = flat[f"{layer}/{'kernel' if kind == 'weight' else 'bias'}"]
        assert mine.dtype == np.float32 and mine.flags.c_contiguous
        np.testing.assert_array_equal(mine, array.transpose(2, 3, 1, 0) if kind == "weight" else array)


def test_strides_and_offsets_are_followed(write_torch, tensors):
    weight = tensors["conv1.1.weight"]  # stored as HWIO behind seven other numbers
    storage = np.concatenate([np.zeros(7, np.float32), weight.transpose(2, 3, 1, 0).ravel()])
    tensor = Tensor(Storage(storage), weight.shape, (1, 32, 3 * 2 * 32, 2 * 32), offset=7)
    params = import_mufusion(write_torch(as_state(tensors, **{"conv1.1.weight": tensor}))).params
    np.testing.assert_array_equal(params["conv1"]["kernel"], weight.transpose(2, 3, 1, 0))


@pytest.mark.parametrize("order, dtype, kind", [
    (b"big", ">f4", "FloatStorage"), (b"little", "<f4", "FloatStorage"), (None, "<f8", "DoubleStorage"),
    (None, "<f2", "HalfStorage"),
])
def test_byte_orders_and_other_floats(write_torch, tensors, order, dtype, kind):
    halves = {key: array.astype(np.float16).astype(np.float32) for key, array in tensors.items()}
    state = {key: Tensor(Storage(array.ravel().astype(dtype), kind), array.shape,
                         [s // 4 for s in array.strides]) for key, array in halves.items()}
    params = import_mufusion(write_torch(state, order=order)).params
    np.testing.assert_array_equal(params["conv66"]["bias"], halves["conv66.1.bias"])
    np.testing.assert_array_equal(params["conv6"]["kernel"], halves["conv6.1.weight"].transpose(2, 3, 1, 0))


# --- what it refuses


class Call:
    """A pickle of it calls `function(*arguments)` when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function, argument", [
    (os.system, "mkdir called"), (eval, "__import__('os').mkdir('called')"), (os.mkdir, "called"),
])
def test_nothing_that_the_pickle_names_is_called(write_torch, tensors, tmp_path, monkeypatch, function, argument):
    monkeypatch.chdir(tmp_path)
    for state in (Call(function, argument), as_state(tensors, extra=Call(function, argument))):
        refused(write_torch(state), f".{function.__name__}, ", "was not called")
        assert not os.path.exists("called")
    # The same pickle does its harm in Python's own unpickler, so the test tests something.
    pickle.loads(pickle.dumps(Call(function, argument)))
    assert os.path.exists("called")


@pytest.mark.parametrize("lines, name", [
    (b"cos\nsystem\n(S'touch called'\ntR.", "os.system"),
    (b"ctorch._utils\nos\n.", "torch._utils.os"),
    (b"ctorch\nload\n.", "torch.load"),
    (b"ccollections\nnamedtuple\n.", "collections.namedtuple"),
    (b"cedmf_jax.weights.mufusion\nos.system\n.", "edmf_jax.weights.mufusion.os.system"),
])
def test_names_laid_out_by_hand_are_refused(tmp_path, monkeypatch, lines, name):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.model", "w") as archive:
        archive.writestr("archive/data.pkl", lines)
    refused("x.model", name)
    assert os.listdir() == ["x.model"]


@pytest.mark.parametrize("size, stride, offset", [
    ((10,), (1,), 1), ((2, 5), (6, 1), 0), ((10,), (-1,), 9), ((10,), (1,), -1), ((-1,), (1,), 0), ((10**9,), (0,), 0),
    ((2,), (2**62,), 0), ((2, 2), (1,), 0), ((2.5,), (1,), 0), (("a",), (1,), 0),
])
def test_tensors_outside_their_storage_are_refused(write_torch, tensors, size, stride, offset):
    tensor = Tensor(Storage(np.zeros(10, np.float32)), size, stride, offset)
    refused(write_torch(as_state(tensors, **{"conv1.1.bias": tensor})), "damaged")


def test_storages_of_another_length_are_refused(write_torch, tensors):
    refused(write_torch(as_state(tensors), lengths=5), "numbers instead of 5")


def test_integers_are_refused(write_torch, tensors):
    refused(write_torch(as_state(tensors, **{"conv1.1.bias": plain(np.zeros(32, np.int64))})), "conv1.1.bias", "int64")


@pytest.mark.parametrize("change, words", [
    ({"conv99.1.weight": np.zeros((4, 4), np.float32)}, "conv99"),
    ({"conv1.0.weight": np.zeros(3, np.float32)}, "conv1.0"),
    ({"conv1.1.bias": np.zeros(16, np.float32)}, "conv1/bias is float32 (16,)"),
    ({"conv1.1.weight": np.zeros((32, 2), np.float32)}, "conv1/kernel is float32 (32, 2)"),
    ({"conv3.1.bias": np.full(64, np.inf, np.float32)}, "conv3/bias holds NaN or infinity"),
])
def test_other_networks_are_refused(write_torch, tensors, change, words):
    refused(write_torch(as_state(tensors, **{key: plain(array) for key, array in change.items()})), words)


def test_missing_layers_and_other_objects_are_refused(write_torch, tensors):
    fewer = {key: array for key, array in tensors.items() if key != "conv2.1.bias"}
    refused(write_torch(as_state(fewer)), "lacks array 'conv2/bias'")
    refused(write_torch([1, 2, 3]), "holds a list")
    refused(write_torch({7: 8}), "7 is not a tensor")
    refused(write_torch(as_state(tensors, epoch=12)), "'epoch' is not a tensor")


def test_files_of_other_kinds_are_refused(tmp_path, tensors):
    cases = {"empty": b"", "text": b"hello", "old.pth": pickle.dumps({"conv1.1.bias": 1}, protocol=2)}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, "neither the ZIP format")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    refused(tmp_path / "photos.zip", "not one of PyTorch's")
    refused(tmp_path, "cannot be read")
    with pytest.raises(MissingFileError, match="no such file"):
        import_mufusion(tmp_path / "gone.model")


def test_truncated_and_damaged_files_are_refused(write_torch, tensors):
    path = write_torch(as_state(tensors))
    whole = path.read_bytes()
    for end in (100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        refused(path, "download it again")
    for position in (60, 200, len(whole) // 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        refused(path, "download it again")

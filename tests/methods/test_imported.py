"""Imported weights: stored once, used from then on; what does not fit the method is named."""

import types

import numpy as np
import pytest

from edmf_jax.cli.main import main
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.methods import imported, registry
from edmf_jax.methods.base import MethodInfo, PlainFuser
from edmf_jax.weights.matlab_file import read_matlab
from edmf_jax.weights.tensorflow_checkpoint import read_checkpoint
from edmf_jax.weights.torch_file import read_torch
from tests.helpers.files import shared_file
from tests.helpers.torch_files import as_state, stand_in, write_zip

INFO = MethodInfo(name="toy", title="Toy", paper="Nobody", year=2026, doi="", verified="not", license="MIT",
                  source="toy.pth of A/B", tensors={"scale": (), "kernel": (2, 3)})
TENSORS = {"scale": np.array(0.5, np.float32), "kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where imported weights go in these tests."""
    stand_in(monkeypatch)
    monkeypatch.setenv("EDMF_METHODS_DIR", str(tmp_path / "methods"))
    return tmp_path / "methods"


@pytest.fixture
def toy(monkeypatch):
    """A method with weights, known to the registry."""
    def load(weights=None, *, as_published=False):
        scale = imported.weights_of(INFO, weights)["scale"]
        return PlainFuser("toy", lambda a, b: np.uint8((a + scale * b) * (0.5 if as_published else 1)))

    module = types.SimpleNamespace(INFO=INFO, read_weights=read_torch, load=load)
    find = registry.module_of
    monkeypatch.setitem(registry.MODULES, "toy", "toy")
    monkeypatch.setattr(registry, "module_of", lambda name: module if name == "toy" else find(name))
    return module


def test_import_then_use(toy, tmp_path, folder, capsys):
    file = write_zip(tmp_path / "toy.pth", as_state(TENSORS | {"unused": np.zeros(3)}))
    assert not registry.is_ready(INFO) and imported.imported_record("toy") == {}
    assert main(["import", "toy", str(file)]) == 0
    assert f"toy: weights imported (license: MIT): {folder / 'toy.npz'}" in capsys.readouterr().out
    assert registry.is_ready(INFO)
    found = imported.weights_of(INFO)
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(found[name], array)
    record = imported.imported_record("toy")
    assert record.keys() == {"method", "source", "license", "files"} and record["license"] == "MIT"
    assert [len(digest) for digest in record["files"].values()] == [64] and "toy.pth" in record["files"]
    a, b = np.full((2, 4, 4), [[[10]], [[20]]], np.uint8)
    assert np.all(toy.load()([a, b]) == 20) and np.all(toy.load(as_published=True)([a, b]) == 10)


def test_a_second_import_replaces_the_first(toy, tmp_path):
    for scale in (1.0, 2.0):
        state = as_state(TENSORS | {"scale": np.array(scale, np.float32)})
        imported.import_weights(toy, write_zip(tmp_path / "x.pth", state))
    assert imported.weights_of(INFO)["scale"] == 2


@pytest.mark.parametrize(("change", "words"), [
    ({"kernel": None}, r"x\.pth: lacks the tensor 'kernel' \(2, 3\)"),
    ({"kernel": np.zeros((3, 2), np.float32)}, r"tensor 'kernel' has the shape \(3, 2\) instead of \(2, 3\)"),
    ({"scale": np.array(np.nan, np.float32)}, "tensor 'scale' holds NaN or infinity"),
])
def test_tensors_that_do_not_fit_are_named(toy, tmp_path, folder, change, words):
    state = as_state({name: array for name, array in (TENSORS | change).items() if array is not None})
    with pytest.raises(UserError, match=words):
        imported.import_weights(toy, write_zip(tmp_path / "x.pth", state))
    assert not folder.exists()


def test_without_an_import_it_says_how(toy):
    with pytest.raises(MissingFileError, match=r"--method toy needs its authors' weights, .* \(toy\.pth of A/B; "
                                               r"license: MIT\) and run `edmf import toy FILE`"):
        imported.weights_of(INFO)
    with pytest.raises(UserError, match="weights given to toy: lacks the tensor 'kernel'"):
        imported.weights_of(INFO, {"scale": np.array(1.0)})


def test_a_damaged_import_says_how_to_mend_it(toy, tmp_path, folder):
    imported.import_weights(toy, write_zip(tmp_path / "x.pth", as_state(TENSORS)))
    whole = (folder / "toy.npz").read_bytes()
    for data in (b"", whole[:100], whole[:-30]):
        (folder / "toy.npz").write_bytes(data)
        for read in (lambda: imported.weights_of(INFO), lambda: imported.imported_record("toy")):
            with pytest.raises(UserError, match=r"toy\.npz cannot be read .* run `edmf import toy FILE` again"):
                read()


@pytest.mark.parametrize(("words", "message"), [
    (("import", "gacnn", "x"), "method 'gacnn' is unknown (did you mean gacn?); `edmf methods` lists all"),
    (("import", "average", "x"), "import average: this method needs no weights; use it with --method average"),
    (("import", "mufusion", "gone.model"), "gone.model: no such file"),
])
def test_mistakes_on_the_command_line(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named(toy, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDMF_METHODS_DIR", str(tmp_path / "file" / "methods"))
    with pytest.raises(UserError, match=r"toy\.npz: cannot be written .* EDMF_METHODS_DIR"):
        imported.import_weights(toy, write_zip(tmp_path / "x.pth", as_state(TENSORS)))


@pytest.mark.parametrize("reader", [read_torch, read_matlab, read_checkpoint])
def test_each_reader_refuses_the_files_of_the_others(reader, toy, tmp_path):
    toy.read_weights = reader
    for name, data in (("model.mat", b"MATLAB 5.0 MAT-file" + bytes(50)), ("x.index", bytes(60)), ("text", b"text")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError) as caught:
            imported.import_weights(toy, tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


FILES = {"gacn": "GACN/GACN.pkl", "sesf": "SESF/lp+lssim_se_sf_net_times30.pkl", "mffgan": "MFF-GAN"}


@pytest.mark.parametrize("name", FILES)
def test_the_authors_files_are_imported(name, folder):
    path = shared_file(f"comparators/originals/{FILES[name]}")
    info = registry.info_of(name)
    imported.import_weights(registry.module_of(name), path)
    found = imported.weights_of(info)
    assert {key: array.shape for key, array in found.items()} == dict(info.tensors)
    assert len(imported.imported_record(name)["files"]) == (2 if name == "mffgan" else 1)


@pytest.mark.parametrize("name", FILES)
def test_the_file_of_another_method_is_refused(name):
    other = shared_file(f"comparators/originals/{FILES['sesf' if name == 'gacn' else 'gacn']}")
    with pytest.raises(UserError) as caught:
        imported.import_weights(registry.module_of(name), other)
    assert other.name in str(caught.value) and "\n" not in str(caught.value)

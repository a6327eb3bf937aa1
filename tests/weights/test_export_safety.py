"""Exports never replace what is not theirs, nor anything without --force, and survive a kill between two renames."""

import json
import os
import shutil
import sys

import jax
import numpy as np
import pytest

from edmf_jax.cli.main import main
from edmf_jax.errors import UserError
from edmf_jax.weights.exporting import MODEL_FORMATS, files, save_model
from edmf_jax.weights.params import params_sha256
from edmf_jax.weights.store import WEIGHTS_FORMATS, load_weights, save_weights
from tests.helpers.files import ROOT
from tests.helpers.networks import WEIGHTS
from tests.helpers.replacements import hidden, killed_replacement

NEEDS = {"stablehlo": "flatbuffers", "onnx": "onnx", "tflite": "tensorflow"}
OTHER = jax.tree.map(lambda x: 2 * x, WEIGHTS.params)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Format → the bytes of one model of ours, of the formats whose packages are here."""
    folder, made = tmp_path_factory.mktemp("models"), {}
    for format in ("stablehlo", "onnx"):
        pytest.importorskip(NEEDS[format])
        save_model(folder / format, WEIGHTS, format=format)
        made[format] = (folder / format).read_bytes()
    return made


@pytest.fixture
def w(tmp_path):
    save_weights(tmp_path / "w", WEIGHTS.params, WEIGHTS.config)
    return tmp_path / "w"


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file()}


def refused(capsys, *words):
    """The one line with which `edmf` refuses."""
    assert main(list(map(str, words))) == 2
    line, = capsys.readouterr().err.splitlines()
    return line


# --- files


def foreign_files(models):
    """Name → bytes of files that are not ours, though they hold our graph's name or begin as ours do."""
    name = b"edmf_fuse_luma"
    prefixed = len(name).to_bytes(4, "little") + name + b"\0"
    rng = np.random.default_rng(5)
    return {
        "README.md": (ROOT / "README.md").read_bytes() + b"\nThe graph is called " + name + b".\n",
        "notes.txt": name,
        "empty": b"",
        "flatbuffer.txt": b"0000TFL" + prefixed,
        "later.bin": rng.bytes(1000) + prefixed + b"TFL3",
        "picture.png": b"\x89PNG\r\n\x1a\n" + rng.bytes(500) + name,
        "backup.tar": rng.bytes(512) + models["onnx"] + models["stablehlo"],
        "torn.onnx": models["onnx"][: len(models["onnx"]) // 2],
        "torn.stablehlo": models["stablehlo"][: len(models["stablehlo"]) // 2],
        "renamed.onnx": models["onnx"].replace(name, b"somebody_elses"),
        "renamed.stablehlo": models["stablehlo"].replace(name, b"somebody_elses"),
    }


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_no_foreign_file_is_replaced_even_by_force(models, w, tmp_path, capsys, force):
    for name, data in foreign_files(models).items():
        (tmp_path / name).write_bytes(data)
        for format in (*MODEL_FORMATS, *WEIGHTS_FORMATS):
            line = refused(capsys, "export", "--weights", w, "--format", format, "-o", tmp_path / name, *force)
            assert name in line and ("not overwritten" in line or "this is a file" in line), line
        assert (tmp_path / name).read_bytes() == data, name
    assert not [path for path in os.listdir(tmp_path) if path.startswith(".")]


def test_random_bytes_are_no_export_and_crash_nothing(models, tmp_path):
    rng = np.random.default_rng(11)
    for i in range(300):
        data = bytearray(rng.bytes(int(rng.integers(0, 2000))))
        if i % 3:  # a damaged start of one of ours
            data = bytearray(models["onnx" if i % 3 == 1 else "stablehlo"][: len(data)])
            for position in rng.integers(0, max(len(data), 1), 5)[: len(data)]:
                data[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "x").write_bytes(data)
        assert not files.is_export(tmp_path / "x")


def test_what_cannot_be_an_export_is_not_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    assert not files.is_export(tmp_path / "pipe")
    monkeypatch.setattr(files, "_LARGEST_EXPORT", 3)
    (tmp_path / "large").write_bytes(b"0000TFL3")
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("it was read whole"))
        assert not files.is_export(tmp_path / "large")


def test_a_model_of_ours_needs_force_and_is_then_replaced(models, w, tmp_path, capsys):
    for old, data in models.items():
        target = tmp_path / f"model.{old}"
        target.write_bytes(data)
        assert files.is_export(target)
        for new in models:
            line = refused(capsys, "export", "--weights", w, "--format", new, "-o", target)
            assert "there is a model already" in line and "--force" in line
            assert target.read_bytes() == data
        assert main(["export", "--weights", str(w), "--format", "onnx", "-o", str(target), "--force"]) == 0
        assert files.is_export(target)
    assert not [path for path in os.listdir(tmp_path) if path.startswith(".")]


@pytest.mark.slow  # TensorFlow takes half a minute
def test_a_tflite_model_is_recognized(tmp_path):
    pytest.importorskip("tensorflow")
    save_model(tmp_path / "m", WEIGHTS, format="tflite")
    assert files.is_export(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(data.replace(b"edmf_fuse_luma", b"somebody_elses"))
    assert not files.is_export(tmp_path / "m")


def test_without_onnx_its_files_count_as_foreign(models, tmp_path, monkeypatch):
    (tmp_path / "m").write_bytes(models["onnx"])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="not a model that `edmf export` wrote"):
        save_model(tmp_path / "m", WEIGHTS, format="stablehlo", force=True)
    assert (tmp_path / "m").read_bytes() == models["onnx"]


# --- folders


@pytest.mark.parametrize("format", WEIGHTS_FORMATS)
def test_another_runs_weights_need_force(w, tmp_path, capsys, format):
    save_weights(tmp_path / "other", OTHER, WEIGHTS.config, format=format)
    before = tree(tmp_path / "other")
    line = refused(capsys, "export", "--weights", w, "-o", tmp_path / "other")
    assert "there are weights in it already" in line and "--force" in line
    assert tree(tmp_path / "other") == before
    assert main(["export", "--weights", str(w), "-o", str(tmp_path / "other"), "--force"]) == 0
    assert params_sha256(load_weights(tmp_path / "other").params) == params_sha256(WEIGHTS.params)
    assert sorted(os.listdir(tmp_path)) == ["other", "w"]


@pytest.mark.parametrize("strange", ["notes.txt", "params/notes.txt", "params.npz.bak", "sub/deep/x"])
@pytest.mark.parametrize("format", WEIGHTS_FORMATS)
def test_weights_with_something_else_in_their_folder_are_never_replaced(w, tmp_path, capsys, strange, format):
    save_weights(tmp_path / "other", OTHER, WEIGHTS.config, format=format)
    (tmp_path / "other" / strange).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "other" / strange).write_text("mine")
    before = tree(tmp_path / "other")
    line = refused(capsys, "export", "--weights", w, "-o", tmp_path / "other", "--force")
    assert f"something else than weights ({strange})" in line
    assert tree(tmp_path / "other") == before


@pytest.mark.parametrize("config", ["{}", "not JSON", json.dumps({"format_version": 1, "name": "another program"})])
def test_a_folder_with_anothers_config_json_is_never_replaced(w, tmp_path, capsys, config):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(config)
    line = refused(capsys, "export", "--weights", w, "-o", tmp_path / "other", "--force")
    assert "something else than weights (config.json)" in line
    assert (tmp_path / "other" / "config.json").read_text() == config


def test_empty_folders_are_taken_and_folders_of_empty_folders_are_not(w, tmp_path):
    (tmp_path / "empty").mkdir()
    save_weights(tmp_path / "empty", OTHER, WEIGHTS.config)
    (tmp_path / "nest" / "egg").mkdir(parents=True)
    with pytest.raises(UserError, match=r"something else than weights \(egg\)"):
        save_weights(tmp_path / "nest", OTHER, WEIGHTS.config, force=True)
    assert (tmp_path / "nest" / "egg").is_dir()


def test_the_importer_needs_force_too(w, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("edmf_jax.weights.mufusion.import_mufusion", lambda file: WEIGHTS)
    save_weights(tmp_path / "other", OTHER, WEIGHTS.config)
    assert "--force" in refused(capsys, "import-mufusion", "x.model", "-o", tmp_path / "other")
    assert params_sha256(load_weights(tmp_path / "other").params) == params_sha256(OTHER)
    assert main(["import-mufusion", "x.model", "-o", str(tmp_path / "other"), "--force"]) == 0
    assert params_sha256(load_weights(tmp_path / "other").params) == params_sha256(WEIGHTS.params)


def test_weights_hidden_by_a_kill_between_the_renames_are_found(w, tmp_path):
    before = tree(w)
    killed_replacement(w, 1)
    assert not w.exists()
    assert params_sha256(load_weights(w).params) == params_sha256(WEIGHTS.params)
    assert tree(w) == before and sorted(os.listdir(tmp_path)) != ["w"]  # the new one's half is still there …
    save_weights(w, OTHER, WEIGHTS.config, force=True)
    assert os.listdir(tmp_path) == ["w"]  # … until the next export


def test_hidden_weights_count_as_there_and_need_force(w, tmp_path):
    killed_replacement(w, 1)
    with pytest.raises(UserError, match="there are weights in it already"):
        save_weights(w, OTHER, WEIGHTS.config)
    assert params_sha256(load_weights(w).params) == params_sha256(WEIGHTS.params)


def test_a_folder_of_the_shipped_name_is_found_too(w, tmp_path, monkeypatch):
    """`edmf` is a shipped name: hidden weights of the user's own must not give way to those silently."""
    shutil.move(w, hidden(tmp_path / "edmf", 2**22 + 1, "old"))
    monkeypatch.chdir(tmp_path)
    assert params_sha256(load_weights("edmf").params) == params_sha256(WEIGHTS.params)

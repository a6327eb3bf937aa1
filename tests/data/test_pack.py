"""A packed split: the planes and parts that TFDS gives, read without TensorFlow; damage and mistakes are named."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from edmf_jax.cli.main import main
from edmf_jax.data.pack import open_pack, write_pack
from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.data.training_pairs import exchange_pairs, load_pairs
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.training.device_data import device_mesh
from tests.helpers.runs import prepare_run, tiny_config

TINY = "edmf_synthetic/tiny"


@pytest.fixture(scope="module")
def builder(data_dir):
    return open_dataset(TINY, str(data_dir), log=lambda line: None)


@pytest.fixture(scope="module", params=[False, True], ids=["files", "gray"])
def pack(request, builder, tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "tiny.pack"
    write_pack(path, builder, "train", gray=request.param, log=lambda line: None)
    return open_pack(path, TINY)


def test_the_planes_are_those_of_tfds(pack, builder):
    for ours, theirs in zip(load_pairs(pack, "train"), load_pairs(builder, "train"), strict=True):
        assert (ours.id, ours.size) == (theirs.id, theirs.size)
        np.testing.assert_array_equal(ours.luma, theirs.luma)


@pytest.mark.parametrize("split", ["train[:50%]", "train[40%:]", "train[25%:75%]", "train[-2:]", "train[:4]",
                                   "train[1:-1]", "train[:-20%]", "train[:1]+train[4:]", "train[:0]"])
def test_parts_of_a_split_are_those_of_tfds(pack, builder, split):
    assert [p.id for p in load_pairs(pack, split)] == [p.id for p in load_pairs(builder, split)]


def test_only_wanted_pairs_are_kept_and_missing_ones_read(pack):
    pairs = load_pairs(pack, "train[1:]")
    kept = exchange_pairs(pairs, [0, 3], pack, "train[1:]")
    assert [p.luma is not None for p in kept] == [True, False, False, True, False]
    again = exchange_pairs(kept, [1, 3], pack, "train[1:]")
    np.testing.assert_array_equal(again[1].luma, pairs[1].luma)


def test_a_run_has_the_same_patches_and_pixels(pack, data_dir):
    config = tiny_config(data_dir)
    first = prepare_run(config, device_mesh()).training_set
    config.data.update(file=str(pack.path), data_dir="/nowhere")
    second = prepare_run(config, device_mesh()).training_set
    assert first.fingerprint == second.fingerprint
    assert first.pixel_fingerprint() == second.pixel_fingerprint()


def test_reading_a_pack_imports_no_tensorflow(pack):
    code = ("import sys; import edmf_jax.training.train; from edmf_jax.data.training_pairs import load_pairs; "
            f"from edmf_jax.data.pack import open_pack; print(len(load_pairs(open_pack({str(pack.path)!r}, "
            f"'edmf_synthetic'), 'train[:50%]')), [m for m in sys.modules if m.startswith(('tensorflow', 'tfds'))])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "3 []"


@pytest.mark.parametrize(("split", "message"), [
    ("test", "holds the split 'train'; take it or a part of it like 'train"), ("train[", "holds the split 'train'"),
    ("train[:]", "a part has a beginning or an end"), ("train[:7]", "there are 6 pairs"),
    ("train[:1.5]", "is not understood")])
def test_splits_that_a_pack_does_not_hold(pack, split, message):
    with pytest.raises(UserError, match=message):
        load_pairs(pack, split)


def test_a_packed_part_is_that_part_only(builder, tmp_path):
    write_pack(tmp_path / "part", builder, "train[:50%]", log=lambda line: None)
    pack = open_pack(tmp_path / "part", TINY)
    assert len(load_pairs(pack, "train[:50%]")) == 3
    with pytest.raises(UserError, match=r"holds the split 'train\[:50%\]'; take it$"):
        load_pairs(pack, "train")


def test_a_pack_of_another_data_set_or_none_at_all(pack, tmp_path):
    with pytest.raises(UserError, match=f"holds pairs of {TINY}, and data.dataset=edmf is asked for"):
        open_pack(pack.path, "edmf")
    with pytest.raises(MissingFileError, match="write one with: edmf data pack"):
        open_pack(tmp_path / "none", "edmf")
    (tmp_path / "text").write_text("not a pack")
    with pytest.raises(UserError, match="is damaged, or was not written by `edmf data pack`"):
        open_pack(tmp_path / "text", "edmf")


def test_a_damaged_picture_is_named(pack, tmp_path):
    data = bytearray(pack.path.read_bytes())
    with zipfile.ZipFile(pack.path) as archive:
        at = archive.getinfo(pack.pairs[2].files[1]).header_offset + 200
    data[at] ^= 255
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(UserError, match="is damaged"):
        load_pairs(open_pack(tmp_path / "bad", TINY), "train")


def test_the_command_packs_and_overwrites_nothing(data_dir, tmp_path, capsys):
    command = ["data", "pack", TINY, "--data-dir", str(data_dir), "--split", "train[:2]", "-o", str(tmp_path / "two")]
    assert main([*command, "--gray"]) == 0
    assert "2 pairs of edmf_synthetic/tiny, train[:2], luma planes" in capsys.readouterr().out
    assert main(command) == 2
    assert "already there" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_train_takes_a_pack_and_names_what_it_is_not(tmp_path, capsys):
    command = ["train", "--workdir", str(tmp_path / "run"), "--data", str(tmp_path / "none.pack")]
    assert main([*command, "--config", "edmf.py"]) == 2
    assert "none.pack: there is no such file; write one with: edmf data pack" in capsys.readouterr().err
    assert main([*command, "--config", "chooser.py"]) == 2
    assert "no field 'data.file'" in capsys.readouterr().err

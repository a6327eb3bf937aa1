"""What TensorFlow writes is read without it; incomplete and damaged checkpoints are named."""

import numpy as np
import pytest

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.weights.tensorflow_checkpoint import checkpoint_files, is_checkpoint, masked_crc32c, read_checkpoint
from tests.helpers.files import shared_file

TENSORS = {f"layer{i}/{kind}": i + np.random.default_rng(i).random(shape, np.float32)
           for i in range(300) for kind, shape in (("kernel", (3, 1, 2)), ("bias", (2,)))}
OTHERS = {"step": np.int64(2**40), "scalar": np.float64(0.1), "empty": np.zeros((0, 3), np.float32)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint by TensorFlow, with an index of several blocks."""
    tf = pytest.importorskip("tensorflow")
    prefix = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    tensors = {**TENSORS, **OTHERS, "graph": np.array(b"bytes of another kind")}
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(tensors), shape_and_slices=[""] * len(tensors),
                      tensors=[tf.constant(array) for array in tensors.values()])
    return prefix


@pytest.fixture
def copied(written, tmp_path):
    """A copy that a test may damage: its prefix, its index and its data."""
    for path in checkpoint_files(written):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / written.name, tmp_path / "model.ckpt.index", tmp_path / "model.ckpt.data-00000-of-00001"


def test_all_numbers_come_back_by_every_name_of_the_checkpoint(copied):
    prefix, index, data = copied
    for name in (prefix, index, data, prefix.with_name("model.ckpt.meta"), prefix.parent):
        found = read_checkpoint(name)
        assert found.keys() == {**TENSORS, **OTHERS}.keys() and is_checkpoint(name)
    for name, array in {**TENSORS, **OTHERS}.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


def test_the_published_checkpoint_of_mff_gan():
    found = read_checkpoint(shared_file("comparators/originals/MFF-GAN"))
    with np.load(shared_file("comparators/weights/MFF-GAN/mffgan_lytro.npz")) as expected:
        for name in expected.files:
            np.testing.assert_array_equal(found[f"fusion_model/{name.replace('.', '/')}"], expected[name])


def test_checksum_is_that_of_the_standard():
    """CRC-32C of RFC 3720, appendix B.4, masked as in LevelDB's crc32c.h."""
    for data, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
        assert masked_crc32c(data) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32


def test_missing_parts_are_named(copied, tmp_path):
    prefix, index, data = copied
    with pytest.raises(MissingFileError, match=r"there is no other\.index beside it; a checkpoint is NAME\.index"):
        read_checkpoint(prefix.with_name("other"))
    content = data.read_bytes()
    data.unlink()
    with pytest.raises(MissingFileError, match=r"there is no model\.ckpt\.data-00000-of-00001 beside model\.c"):
        read_checkpoint(tmp_path)
    data.write_bytes(content)
    index.unlink()
    for name in (tmp_path, prefix, data):
        with pytest.raises(MissingFileError, match=r"there is no model\.ckpt\.index beside it"):
            read_checkpoint(name)
    data.unlink()
    with pytest.raises(MissingFileError, match="a folder without a TensorFlow checkpoint"):
        read_checkpoint(tmp_path)


def test_a_folder_of_several_checkpoints_asks_for_one(copied, tmp_path):
    for name in ("a.index", "b.meta"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"holds 3 checkpoints; name one of them: a, b, model.ckpt"):
        read_checkpoint(tmp_path)


def test_damage_is_named(copied):
    prefix, index, data = copied
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"data-00000-of-00001: truncated, the tensor 'layer.*' .* is not whole"):
        read_checkpoint(prefix)
    middle = len(whole) // 2
    data.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(UserError, match=r"damaged, the tensor 'layer.*' has another checksum"):
        read_checkpoint(prefix)
    whole = index.read_bytes()
    for changed in (b"", b"text", whole[:-1], whole[1:100] + whole[-60:-8]):
        index.write_bytes(changed)
        with pytest.raises(UserError, match="not the index of a TensorFlow checkpoint of format V2, or truncated"):
            read_checkpoint(prefix)
    for position in (5, 300, len(whole) - 60):
        index.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(UserError, match=r"model\.ckpt\.index: damaged .*; download it again"):
            read_checkpoint(prefix)

"""Networks whose weights may not be passed on, with random ones in the authors' files: as PyTorch computes them.

The golden outputs: tests/golden/make_method_goldens.py.
"""

import numpy as np
import pytest
import scipy.io

from edmf_jax.errors import UserError
from edmf_jax.methods import cnn, ifcnn, u2fusion
from tests.helpers.method_weights import CNN_FULL, CNN_LIGHT, IFCNN, U2FUSION, random_pictures, random_weights
from tests.helpers.torch_files import as_state, stand_in, write_zip


@pytest.fixture
def golden(reference):
    return reference("methods/random_weights")


@pytest.fixture
def ifcnn_weights(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    state = as_state(random_weights(IFCNN, 0) | {"conv2.bn.num_batches_tracked": np.array([9])})
    return ifcnn.read_weights(write_zip(tmp_path / "IFCNN-MAX.pth", state))


def test_ifcnn_of_three_pictures(ifcnn_weights, golden):
    method, pictures = ifcnn.load(ifcnn_weights), random_pictures(3, 37, 52)
    np.testing.assert_allclose(ifcnn.fuse_rgb(method.params, pictures), golden["ifcnn"], atol=2e-3)
    np.testing.assert_array_equal(method(list(pictures)), np.rint(golden["ifcnn"]))
    assert (ifcnn.load(ifcnn_weights, as_published=True)(list(pictures)) <= golden["ifcnn"] + 2e-3).all()
    in_pieces = ifcnn.fuse_rgb(method.params, pictures, largest_px=24)
    np.testing.assert_allclose(in_pieces, golden["ifcnn"], atol=2e-3)


def test_u2fusion(golden, monkeypatch):
    monkeypatch.setattr(u2fusion, "read_checkpoint", lambda path, hint: random_weights(U2FUSION, -1, gain=1.2))
    weights = u2fusion.read_weights("model.ckpt")
    luma = (random_pictures(2, 33, 46)[..., 1] / 255).astype(np.float32)
    np.testing.assert_allclose(u2fusion.fuse_luma(weights, luma), golden["u2fusion"], atol=3e-6)
    pair = list(random_pictures(2, 33, 46)[..., 1])
    assert u2fusion.load(weights, as_published=True)(pair).max() == 255
    np.testing.assert_array_equal(u2fusion.load(weights)(pair), np.rint(255 * golden["u2fusion"]))


@pytest.mark.slow
def test_u2fusion_in_pieces(golden):
    published = random_weights(U2FUSION, -1, gain=1.2)
    weights = {name: published[u2fusion._published_name(name)] for name in u2fusion.INFO.tensors}
    luma = (random_pictures(2, 33, 46)[..., 1] / 255).astype(np.float32)
    np.testing.assert_allclose(u2fusion.fuse_luma(weights, luma, largest_px=31), golden["u2fusion"], atol=3e-6)


@pytest.mark.parametrize(("shapes", "name"), [(CNN_LIGHT, "cnn_light"), (CNN_FULL, "cnn_full")])
def test_cnn_light_and_full(shapes, name, golden, tmp_path):
    scipy.io.savemat(tmp_path / "cnnmodel.mat", random_weights(shapes, -1))
    weights = cnn.read_weights(tmp_path / "cnnmodel.mat")
    gray = (random_pictures(2, 35, 42)[..., 1:2] / 255).astype(np.float32)
    np.testing.assert_allclose(cnn.score_map(weights, gray), golden[name], atol=2e-6)


def test_cnn_in_pieces_and_on_the_smallest_picture():
    weights = {name: np.full(shape, 0.01, np.float32) for name, shape in cnn.INFO.tensors.items()}
    weights["score/kernel"][..., :256, 1] = 0.02
    gray = (random_pictures(2, 71, 64)[..., 1:2] / 255).astype(np.float32)
    np.testing.assert_allclose(cnn.score_map(weights, gray, 64), cnn.score_map(weights, gray), atol=1e-6)
    pair = list(random_pictures(2, 16, 17))
    assert cnn.load(weights)(pair).shape == (16, 17, 3)
    with pytest.raises(UserError, match="cnn needs at least 16 px"):
        cnn.load(weights)([x[:15] for x in pair])


def test_a_mat_file_of_something_else_is_named(tmp_path):
    scipy.io.savemat(tmp_path / "other.mat", {"x": np.zeros(3)})
    with pytest.raises(UserError, match=r"other.mat: lacks the tensor 'weights_b1_1' \(9, 64\)"):
        cnn.read_weights(tmp_path / "other.mat")


def test_ifcnn_of_gray_pictures(ifcnn_weights):
    gray = [x[..., 0] for x in random_pictures(2, 37, 52)]
    colored = ifcnn.load(ifcnn_weights)([np.repeat(x[..., None], 3, -1) for x in gray])
    fused = ifcnn.load(ifcnn_weights)(gray)
    assert fused.shape == (37, 52)
    assert np.abs(fused - colored @ (0.299, 0.587, 0.114)).max() < 1.01

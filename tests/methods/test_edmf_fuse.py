"""`edmf fuse` as a method of `edmf evaluate`: its words, and that it is the same picture."""

import jax
import numpy as np
import pytest

import edmf_jax
from edmf_jax.core import chooser
from edmf_jax.data.pairs import Scene
from edmf_jax.errors import UserError
from edmf_jax.evaluation.methods import make_methods
from edmf_jax.methods.edmf_fuse import EdmfFuse
from edmf_jax.weights.chooser_params import save_chooser


@pytest.fixture
def shots():
    rng = np.random.default_rng(5)
    sharp = np.kron(rng.integers(60, 200, (8, 9, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return [sharp, (0.8 * sharp).astype(np.uint8)]


def test_words_are_options_and_the_picture_is_that_of_edmf_fuse(shots):
    (method,) = make_methods(["ours=edmf-fuse:registered,average,hand-made"], ["1"], tiling="whole")
    assert (method.name, method.record) == ("ours", {})
    expected = edmf_jax.fuse(shots, align="none", exposure="average", weights="none")
    np.testing.assert_array_equal(method.fuse(Scene("1", *shots)), expected)
    at_reference = EdmfFuse("edmf-fuse:registered,hand-made")(shots)
    assert at_reference.mean() > expected.mean() + 5


def test_parameters_are_recorded_by_their_hash(tmp_path):
    save_chooser(tmp_path / "p.npz", chooser.init_params(jax.random.key(0), chooser.SIZES["small"]), {"size": "small"})
    shipped, own = EdmfFuse("edmf-fuse"), EdmfFuse(f"edmf-fuse:{tmp_path / 'p.npz'},registered")
    assert shipped.options == {} and own.options == {"weights": str(tmp_path / "p.npz"), "align": "none"}
    assert shipped.sha256 and own.sha256 and shipped.sha256 != own.sha256


@pytest.mark.parametrize(("words", "message"), [
    ("sharp", "'sharp' is none of registered, average, hand-made, nor a file"),
    ("average,average", "exposure is given twice; leave average or the other one out"),
])
def test_mistakes_are_one_line(words, message):
    with pytest.raises(UserError, match=message) as caught:
        make_methods([f"edmf-fuse:{words}"], ["1"], tiling="whole")
    assert "\n" not in str(caught.value)

"""MUFusion as a method: equal to its authors' program as published, and to this package's network otherwise."""

import numpy as np
import pytest

from edmf_jax.core.model import make_model
from edmf_jax.errors import UserError
from edmf_jax.fusion.tiling import fuse_levels
from edmf_jax.io.images import read_image
from edmf_jax.methods import mufusion
from edmf_jax.weights.mufusion import import_mufusion
from tests.helpers.files import shared_file

GOLDEN = "comparators/golden"


@pytest.fixture(scope="module")
def weights():
    return mufusion.read_weights(shared_file("mufusion/multi-focus.model"))


@pytest.fixture(scope="module")
def images():
    return [read_image(shared_file(f"{GOLDEN}/inputs/lytro-01-{name}.png")) for name in "AB"]


@pytest.mark.slow
def test_as_published_it_is_the_authors_program_before_its_jpeg(weights, images):
    """golden/MUFusion/README.md says how the picture was made: in float64, so single levels may round otherwise."""
    expected = read_image(shared_file(f"{GOLDEN}/MUFusion/lytro-01-fused.png"))
    error = np.abs(mufusion.load(weights, as_published=True)(images).astype(int) - expected)
    assert error.max() <= 1 and np.count_nonzero(error) <= 20


@pytest.mark.slow
def test_otherwise_it_is_the_network_in_its_tiles_with_the_common_colors(weights, images):
    params = import_mufusion(shared_file("mufusion/multi-focus.model")).params
    small = [image[:130, :140] for image in images]
    expected = fuse_levels(make_model(mufusion.MUFUSION_WIDTH), params, *small, "mufusion")
    fuse = mufusion.load(weights)
    np.testing.assert_array_equal(fuse(small), expected)
    # The authors' script for luminance stretches what it saves; the order of levels stays.
    gray = [image[..., 1] for image in small]
    plain, stretched = fuse(gray), mufusion.load(weights, as_published=True)(gray)
    assert (stretched.min(), stretched.max()) == (0, 255) and plain.max() - plain.min() < 255
    order = np.argsort(plain, axis=None, kind="stable")
    steps = np.diff(stretched.ravel()[order].astype(int))
    assert np.all(steps[np.diff(plain.ravel()[order]) > 1] >= 0)


def test_pictures_smaller_than_a_tile_are_refused_either_way(weights):
    images = [np.zeros((127, 200, 3), np.uint8)] * 2
    for as_published in (False, True):
        with pytest.raises(UserError, match="128"):
            mufusion.load(weights, as_published=as_published)(images)


def test_its_tensors_are_those_of_the_network():
    shapes = {name: array.shape for name, array in
              mufusion.read_weights(shared_file("mufusion/multi-focus.model")).items()}
    assert shapes == mufusion.INFO.tensors
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 554_721

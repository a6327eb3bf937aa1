"""MUFusion as a method: equal to its authors' program as published, and to this package's network otherwise."""

import numpy as np
import pytest

from edmf_jax.core.model import make_model
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
    # Gray pictures have no colors that scripts could treat in their own way.
    gray = [image[..., 1] for image in small]
    np.testing.assert_array_equal(fuse(gray), mufusion.load(weights, as_published=True)(gray))


def test_its_tensors_are_those_of_the_network():
    shapes = {name: array.shape for name, array in
              mufusion.read_weights(shared_file("mufusion/multi-focus.model")).items()}
    assert shapes == mufusion.INFO.tensors
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 554_721

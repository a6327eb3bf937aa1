"""The network written in other ways for a GPU equals the package's: in blocks of 2×2 pixels, and by kernels of our own.

Kernels run as plain JAX here (Pallas' interpreter); tests/training/test_compile_targets.py compiles them for a GPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.filters import reflect_pad
from edmf_jax.core.model import init_params, make_model
from edmf_jax.core.upsampling import upsample2
from studies.device import candidates
from studies.device.kernels.layer import layer_by_kernels
from studies.device.kernels.pixels import Layer, Tile, Tiles, full_channels

# Few pixels, so that a picture has several tiles, some reaching out of it, and several programs share a sum.
SMALL = Tiles(Tile(2, 4, 4), Tile(2, 4, 4), Tile(2, 4, 4), programs=5)


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def convolution(parts, padded, kernel, stride=1):
    x = jnp.concatenate([*(reflect_pad(part, 1, axes=(1, 2)) for part in parts), *padded], -1)
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "VALID", precision="highest",
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


def assert_close(ours, theirs, limit=2e-6):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape and float(jnp.abs(a - b).max()) <= limit * float(jnp.abs(b).max())


def test_blocks_and_pixels_are_inverse():
    x = random(2, 6, 8, 3)
    blocks = candidates.to_blocks(x)
    assert blocks.shape == (2, 3, 4, 12)
    np.testing.assert_array_equal(blocks[1, 2, 3], x[1, 4:6, 6:8].reshape(-1))
    np.testing.assert_array_equal(candidates.to_pixels(blocks), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_kernel_over_blocks_is_the_kernel_over_pixels(stride):
    """A reflected border of pixels is a repeated border of blocks."""
    x, kernel = random(2, 6, 8, 3), random(3, 3, 3, 5, seed=1)
    offsets, outputs = ((-1, 0, 1), 2) if stride == 1 else ((-1, 0), 1)
    after = 1 if stride == 1 else 0
    padded = jnp.pad(candidates.to_blocks(x), ((0, 0), (1, after), (1, after), (0, 0)), mode="edge")
    with jax.default_matmul_precision("highest"):
        out = jax.jit(lambda: candidates.convolution(padded, candidates.block_kernel(kernel, offsets, outputs)))()
    assert_close(candidates.to_pixels(out) if stride == 1 else out, convolution([x], [], kernel, stride))


def test_upsampling_in_blocks():
    x = random(2, 4, 5, 3)
    assert_close(jax.jit(candidates.upsample_blocks)(x), candidates.to_blocks(jax.jit(upsample2)(x)))


def test_channels_for_a_tensor_core():
    assert [full_channels(n) for n in (1, 2, 16, 17, 32, 48)] == [16, 16, 16, 32, 32, 64]


def test_the_outputs_of_a_layer_by_kernels():
    """Odd sides, so that tiles reach out."""
    x, kernel, layer = random(2, 5, 6, 16), random(3, 3, 16, 16, seed=1), Layer(tiles=SMALL, interpret=True)
    out = jax.jit(lambda: layer_by_kernels(layer, (x,), kernel, jnp.zeros(16)))()
    assert_close(out, jax.jit(lambda: jax.nn.relu(convolution([x], [], kernel)))())


@pytest.mark.slow
@pytest.mark.parametrize(("way", "size"), [("blocks", (8, 10)), ("kernels", (9, 7))])
def test_networks_equal_the_package_s(way, size):
    """Outputs and gradients.  All kinds of layers are in it, and odd sides for kernels; blocks are for even ones."""
    model = make_model(16, platform="cpu")
    params = jax.tree.map(lambda x: x + 0.01 * random(*x.shape), init_params(model, jax.random.key(1)))
    sources, cotangent = random(1, *size, 2), random(1, *size, seed=1)
    written = candidates.blocks("float32") if way == "blocks" else candidates.kernels(
        "float32", lambda layer: SMALL, candidates.LAYERS, interpret=True)

    def both(function):
        out, pull = jax.vjp(lambda params: function({"params": params}, sources), params)
        return out, pull(cotangent)

    with jax.default_matmul_precision("highest"):
        assert_close(jax.jit(lambda: both(written.apply))(), jax.jit(lambda: both(model.apply))(), 2e-5)

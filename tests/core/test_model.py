"""The network against PyTorch's numbers, and its extremes and symmetries.

References (tests/golden/README.md): `mufusion_forward.npz`, from the code of MUFusion's authors; `train_step.npz` and
`filters.npz`, from an independent implementation of the paper in PyTorch.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.filters import reflect_pad
from edmf_jax.core.model import MIN_SIDE_PX, _convolve_parts, fuse_luma, init_params, make_model
from edmf_jax.core.upsampling import upsample2, upsample2_cpu, upsample2_padded
from tests.helpers.files import nest, shared_file

run = jax.jit(fuse_luma, static_argnums=0)
# Takes half the time to compile, for tests that do not compare the last digits.
run_fast_compiled = jax.jit(fuse_luma, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
SIZE = (17, 18)


@pytest.fixture(scope="module")
def small():
    """A narrow network and its parameters: the same graph, quick to run."""
    model, rng = make_model(4), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda key: init_params(model, key), jax.random.key(0))
    return model, jax.tree.map(lambda leaf: (0.15 * rng.standard_normal(leaf.shape)).astype(np.float32), shapes)


@pytest.fixture(scope="module")
def mufusion():
    with np.load(shared_file("mufusion/multi-focus.npz")) as arrays:
        return make_model(32), nest(dict(arrays))


def planes(shape, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.random(shape, np.float32)) for _ in range(2)]


@pytest.mark.parametrize("crop", ["a", "b"])
def test_published_mufusion_output_is_reproduced(reference, mufusion, crop):
    golden = reference("mufusion_forward")
    sources = golden[f"{crop}_sources"].astype(np.float32) / 255
    fused = run(*mufusion, sources[:1], sources[1:])
    np.testing.assert_allclose(fused[0], golden[f"{crop}_fused"], atol=2e-6)


def test_published_mufusion_feature_maps_are_reproduced(reference, mufusion):
    golden, (model, params) = reference("mufusion_forward"), mufusion
    sources = np.moveaxis(golden["c_sources"].astype(np.float32) / 255, 0, -1)[None]
    features = jax.jit(lambda p, x: model.apply({"params": p}, x, method="encode"))(params, sources)
    for name, feature in zip(("conv1", "conv2", "conv3", "conv4", "conv5", "conv6"), features, strict=True):
        np.testing.assert_allclose(jnp.moveaxis(feature[0], -1, 0), golden[f"c_{name}"], atol=1e-5, err_msg=name)


def test_half_width_output_agrees_with_pytorch_in_float64(reference):
    golden = reference("train_step")
    sources = golden["sources"].astype(np.float32) / 255
    fused = run(make_model(16), nest(golden, "param/"), sources[:, 0], sources[:, 1])
    np.testing.assert_allclose(fused, golden["output"], atol=1e-5)


def test_upsample2_is_pytorchs_bicubic(reference):
    golden = reference("filters")
    sources = golden["sources"].astype(np.float32) / 255
    np.testing.assert_allclose(upsample2(sources[..., None])[..., 0], golden["bicubic_x2"], atol=1e-6)


@pytest.mark.parametrize("size", [(2, 3), (5, 8)])
def test_upsample2_of_the_cpu_has_the_same_gradient(size):
    x, gradient = jnp.stack(planes((2, *size)), -1), jnp.stack(planes((2, 2 * size[0], 2 * size[1]), 1), -1)
    plain, plain_vjp = jax.vjp(upsample2, x)
    found, found_vjp = jax.vjp(upsample2_cpu, x)
    np.testing.assert_array_equal(found, plain)
    np.testing.assert_allclose(found_vjp(gradient)[0], plain_vjp(gradient)[0], atol=2e-6)


def test_upsample2_keeps_constants_and_mirrored_pictures():
    np.testing.assert_allclose(upsample2(jnp.full((1, 5, 7, 2), 0.3)), 0.3, atol=1e-7)
    x = planes((1, 5, 7, 2))[0]
    np.testing.assert_allclose(upsample2(x[:, ::-1, ::-1]), upsample2(x)[:, ::-1, ::-1], atol=1e-6)


def test_half_width_network_has_the_size_of_the_paper():
    params = jax.eval_shape(lambda key: init_params(make_model(16), key), jax.random.key(0))
    counts = {name: int(np.prod(p["kernel"].shape) + p["bias"].shape[0]) for name, p in params.items()}
    assert params["conv6"]["kernel"].shape == (3, 3, 96, 32)
    assert params["conv22"]["kernel"].shape == (3, 3, 48, 16)
    assert params["conv11"]["kernel"].shape == (3, 3, 32, 1)
    assert len(counts) == 12 and sum(counts.values()) == 139_121


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (16, 31)])
def test_every_size_comes_back(small, size):
    fused = run_fast_compiled(*small, *planes((1, *size)))
    assert fused.shape == (1, *size) and fused.dtype == jnp.float32
    assert bool(jnp.all(jnp.abs(fused) < 1))


def test_batch_of_one_is_the_single_picture(small):
    a, b = planes((3, *SIZE))
    together = run(*small, a, b)
    for i in range(3):
        np.testing.assert_allclose(run(*small, a[i : i + 1], b[i : i + 1])[0], together[i], atol=1e-6)


def test_jitted_is_eager(small):
    a, b = planes((1, *SIZE))
    np.testing.assert_allclose(run(*small, a, b), fuse_luma(*small, a, b), atol=1e-6)


def test_constant_sources_give_a_constant(small):
    constant = jnp.full((1, *SIZE), 0.4)
    assert float(jnp.ptp(run(*small, constant, constant))) < 1e-6


def test_transposed_kernels_and_sources_give_the_transposed_picture(small):
    model, params = small
    turned = {name: {"kernel": p["kernel"].transpose(1, 0, 2, 3), "bias": p["bias"]} for name, p in params.items()}
    a, b = planes((1, *SIZE))
    np.testing.assert_allclose(run_fast_compiled(model, turned, a.mT, b.mT).mT, run(*small, a, b), atol=1e-6)


def test_float32_agrees_with_float64(small):
    a, b = (np.asarray(plane) for plane in planes((1, *SIZE)))
    with jax.enable_x64(True):
        wide = jax.tree.map(np.float64, small[1])
        double = run_fast_compiled(make_model(4, "float64"), wide, a.astype(np.float64), b.astype(np.float64))
        assert double.dtype == jnp.float64
    np.testing.assert_allclose(run(*small, a, b), np.asarray(double), atol=1e-5)


def test_bfloat16_computes_near_float32(small):
    a, b = planes((1, *SIZE))
    half = run_fast_compiled(make_model(4, "bfloat16"), small[1], a, b)
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - run(*small, a, b)).max()) < 0.05


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_the_network_as_written_for_other_platforms_gives_the_same_output_and_gradients(small, platform):
    """Odd sides, so that the upsampled map is cropped before its border is reflected."""
    def output_and_gradients(model):
        a, b = planes((1, *SIZE))

        def loss(params):
            output = fuse_luma(model, params, a, b)
            return jnp.sum(output**2), output

        run = jax.jit(jax.grad(loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})
        return run(small[1])

    here, there = output_and_gradients(small[0]), output_and_gradients(make_model(4, platform=platform))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), here, there)


@pytest.mark.parametrize("size", [(10, 12), (11, 13), (9, 8)])
def test_padded_upsampling_is_the_plain_one_cropped_and_padded(size, rng):
    x = jnp.asarray(rng.random((2, -(-size[0] // 2), -(-size[1] // 2), 3)), jnp.float32)
    plain, plain_vjp = jax.vjp(lambda x: reflect_pad(upsample2(x)[:, : size[0], : size[1]], 1, axes=(1, 2)), x)
    padded, padded_vjp = jax.vjp(lambda x: upsample2_padded(x, size), x)
    np.testing.assert_allclose(padded, plain, atol=1e-6)
    gradient = jnp.asarray(rng.random(plain.shape), jnp.float32)
    np.testing.assert_allclose(padded_vjp(gradient)[0], plain_vjp(gradient)[0], atol=3e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [(2,), (16, 40), (32, 32, 32), (33,)])
def test_convolution_by_channel_groups_is_the_plain_one(channels, stride):
    rng = np.random.default_rng(3)
    parts = [jnp.asarray(rng.standard_normal((1, 9, 11, c)).astype(np.float32)) for c in channels]
    kernel = jnp.asarray(rng.standard_normal((3, 3, sum(channels), 5)).astype(np.float32))
    grouped, plain = (_convolve_parts(parts, kernel, stride, g, "default") for g in (32, 0))
    assert grouped.shape == plain.shape == (1, 7 // stride + stride - 1, 9 // stride + stride - 1, 5)
    np.testing.assert_allclose(grouped, plain, rtol=1e-5, atol=1e-4)


def test_order_of_sources_matters_to_the_network(small):
    a, b = planes((1, *SIZE))
    assert float(jnp.abs(run(*small, a, b) - run(*small, b, a)).max()) > 1e-4


def test_pictures_below_the_smallest_size_are_refused(small):
    model, params = small
    with pytest.raises(ValueError, match=f"at least {MIN_SIDE_PX}×{MIN_SIDE_PX} px, got 15×40"):
        fuse_luma(model, params, *planes((1, 15, 40)))


def test_sources_of_different_sizes_are_refused(small):
    model, params = small
    with pytest.raises(ValueError, match=r"\(16, 16\) and \(16, 17\)"):
        fuse_luma(model, params, jnp.zeros((1, 16, 16)), jnp.zeros((1, 16, 17)))


@pytest.mark.parametrize("width, dtype, message", [(0, "float32", "model.width"), (16, "float16", "'float16'")])
def test_impossible_networks_are_refused(width, dtype, message):
    with pytest.raises(ValueError, match=message):
        make_model(width, dtype)


def test_an_impossible_precision_is_refused():
    with pytest.raises(ValueError, match="one of default, high, highest, got 'tf32'"):
        make_model(16, precision="tf32")

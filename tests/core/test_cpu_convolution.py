"""The CPU's ways of writing a 3×3 convolution against the usual one: values, gradients, and what is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.cpu_convolution import compiler_options, convolve, convolve_few, is_slow


def arrays(inputs, outputs, width, dtype=np.float32):
    rng = np.random.default_rng(inputs + outputs)
    shapes = (2, 9, width + 2, inputs), (3, 3, inputs, outputs), (2, 7, width, outputs)
    return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


@pytest.mark.parametrize("inputs, outputs, width", [(2, 16, 6), (16, 16, 8), (32, 16, 6), (16, 1, 6), (16, 1, 5)])
def test_few_outputs_have_the_values_and_gradients_of_the_usual_convolution(inputs, outputs, width):
    x, kernel, gradient = arrays(inputs, outputs, width)
    assert is_slow(x, kernel)
    usual, usual_vjp = jax.vjp(lambda x, k: convolve(x, k, (1, 1), None), x, kernel)
    found, found_vjp = jax.vjp(lambda x, k: convolve_few(x, k, None), x, kernel)
    np.testing.assert_allclose(found, usual, atol=2e-5)
    for ours, theirs in zip(found_vjp(gradient), usual_vjp(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-5)


def test_other_shapes_keep_the_usual_convolution():
    for inputs, outputs, width in ((2, 16, 5), (16, 32, 6)):
        x, kernel, _ = arrays(inputs, outputs, width)
        assert not is_slow(x, kernel)


def test_sizes_that_are_unknown_when_traced_keep_the_usual_convolution():
    height, width = jax.export.symbolic_shape("h, w")
    seen = []
    exported = jax.export.export(jax.jit(lambda x, k: seen.append(is_slow(x, k)) or x.sum() + k.sum()))
    exported(jax.ShapeDtypeStruct((1, height, width, 2), np.float32), jax.ShapeDtypeStruct((3, 3, 2, 1), np.float32))
    assert seen == [False]


def test_cpus_get_an_option_that_other_platforms_do_not():
    assert compiler_options("gpu") == compiler_options("tpu") == {}
    x, kernel, _ = arrays(32, 32, 64)
    compiled = jax.jit(lambda x, k: convolve(x, k, (1, 1), None)).lower(x, kernel).compile(
        compiler_options=compiler_options("cpu"))
    assert "ynn_fusion" not in compiled.as_text()
    np.testing.assert_allclose(compiled(x, kernel), convolve(x, kernel, (1, 1), None), atol=1e-4)

"""How XLA's CPU backend computes 3×3 convolutions fastest: options of its compiler, and forms for few output channels.

It copies the inputs of each output pixel (9 C numbers) into a row and multiplies the rows with the kernel.
With 16 output channels or fewer, copying takes longer than multiplying.  Two other ways of writing copy less; both give
the same numbers but for rounding.  docs/training.md, "Speed on a CPU", has their times.
"""

import functools

import jax
import jax.numpy as jnp

FEW = 16
"""Up to so many output channels, two neighboring pixels are computed as one with twice as many channels."""


YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
"""The compiler's option that lists what it leaves to the library YNNPACK."""


@functools.cache
def compiler_options(platform: str | None = None) -> dict[str, str]:
    """Options for `jax.jit` around the network on `platform`, the default backend's if None; {} but for CPUs.

    jaxlib 0.10 leaves convolutions of more than 16 channels to YNNPACK, which takes 1.3 to 1.6 times as long as XLA's
    own way.  A jaxlib that does not know the option gets none.
    """
    if (platform or jax.default_backend()) != "cpu":
        return {}
    options = {YNNPACK: ""}
    try:
        jax.jit(jnp.negative).lower(0.0).compile(compiler_options=options)
    except RuntimeError:
        return {}
    return options


def convolve(x: jax.Array, kernel: jax.Array, stride: tuple[int, int], precision, padding: int = 0) -> jax.Array:
    """Convolution of `x` `[B, H, W, C]` with `kernel` `[h, w, C, O]`, with `padding` zeros on each side."""
    return jax.lax.conv_general_dilated(x, kernel, stride, [(padding, padding)] * 2, precision=precision,
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


def is_slow(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether `convolve_few` is the faster way for these shapes; not for sizes that are unknown when it is traced."""
    sizes = x.shape[1:3]
    if not all(isinstance(n, int) for n in sizes):
        return False
    return kernel.shape[-1] == 1 or (kernel.shape[-1] <= FEW and sizes[1] % 2 == 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve_few(x: jax.Array, kernel: jax.Array, precision) -> jax.Array:
    """Convolution of `x` `[B, H + 2, W + 2, C]` with a 3×3 `kernel` `[3, 3, C, O]` → `[B, H, W, O]`.

    O is 1, or W is even.  It has a gradient of its own: that of the picture is such a convolution again, and that of
    the kernel is the one of the usual convolution, because no other way was faster.
    """
    return _one_output(x, kernel, precision) if kernel.shape[-1] == 1 else _pixel_pairs(x, kernel, precision)


def _one_output(x, kernel, precision):
    """The products with all nine taps at every pixel, then their sum, each tap from its own place."""
    height, width = (n - 2 for n in x.shape[1:3])
    taps = jnp.transpose(kernel, (2, 0, 1, 3)).reshape(kernel.shape[2], 9)
    products = jax.lax.dot_general(x, taps, (((3,), (0,)), ((), ())), precision=precision)
    return sum(products[:, i : i + height, j : j + width, 3 * i + j, None] for i in range(3) for j in range(3))


def _pixel_pairs(x, kernel, precision, padding=0):
    """A convolution of stride 2 along the width, of two pixels at a time: 4/3 of the products, 2/3 of the copying."""
    pair = jnp.concatenate([jnp.pad(kernel, ((0, 0), (j, 1 - j), (0, 0), (0, 0))) for j in (0, 1)], -1)
    out = convolve(x, pair, (1, 2), precision, padding)
    return out.reshape(*out.shape[:2], 2 * out.shape[2], kernel.shape[-1])


def _forward(x, kernel, precision):
    return convolve_few(x, kernel, precision), (x, kernel)


def _backward(precision, saved, gradient):
    x, kernel = saved
    _, of_kernel = jax.vjp(lambda k: convolve(x, k, (1, 1), precision), kernel)
    if kernel.shape[-1] == 1:
        _, of_x = jax.vjp(lambda x: _one_output(x, kernel, precision), x)
        return *of_x(gradient), *of_kernel(gradient)
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    if kernel.shape[2] <= FEW:
        return _pixel_pairs(gradient, turned, precision, 2), *of_kernel(gradient)
    return convolve(gradient, turned, (1, 1), precision, 2), *of_kernel(gradient)


convolve_few.defvjp(_forward, _backward)

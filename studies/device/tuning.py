"""Which tiles suit the kernels of a layer, tried on one layer at full and one at half resolution; and shifted views.

Times are in ms; their names say kernel, layer and tile.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from edmf_jax.core.filters import reflect_pad
from studies.device.kernels.forward import forward
from studies.device.kernels.inputs import gradient_of_inputs
from studies.device.kernels.pixels import Layer, Tile, Tiles
from studies.device.kernels.weights import gradient_of_weights

LAYERS = {"conv2": (1, (16,), 16, 1, ("forward", "inputs", "weights")),
          "conv44": (2, (32, 32), 32, 1, ("forward", "inputs", "weights")),
          "conv3": (1, (16, 16), 32, 2, ("forward", "inputs", "weights")),
          "conv1": (1, (2,), 16, 1, ("forward", "weights")),
          "conv11": (1, (16, 16), 1, 1, ("forward", "weights"))}
"""Layer → divisor of the side, channels of its parts and of its result, stride, and the kernels that are tried."""
TUNED = ("conv2", "conv44")
TILES = {"forward": (Tile(4, 32, 4), Tile(2, 32, 4), Tile(1, 128, 4), Tile(8, 32, 8), Tile(8, 8, 2)),
         "inputs": (Tile(4, 32, 4), Tile(2, 32, 4), Tile(8, 32, 8)),
         "weights": (Tile(2, 32, 0, 1), Tile(2, 32, 0, 2), Tile(1, 32, 0, 1), Tile(1, 32, 0, 3), Tile(2, 32, 0, 3))}


def _arguments(shape: tuple[int, int], layer: str, dtype: str):
    divisor, parts, features, stride, _ = LAYERS[layer]
    side = shape[1] // divisor
    keys = jax.random.split(jax.random.key(0), len(parts) + 3)

    def random(key, *size):
        return jax.random.normal(key, size, jnp.float32).astype(dtype)

    inputs = [random(key, shape[0], side, side, size) for key, size in zip(keys, parts, strict=False)]
    kernel = random(keys[-1], 3, 3, sum(parts), features)
    gradient = random(keys[-2], shape[0], side // stride, side // stride, features)
    return inputs, kernel, jnp.ones(features), gradient


def kernel_jobs(shape: tuple[int, int], dtype: str, *, interpret: bool, few: bool) -> dict[str, Callable[[], Callable]]:
    """Name → a function that compiles a kernel in a tile and returns the call of it."""
    found = {}

    def job(name, function, *arguments):
        def compiled():
            program = jax.jit(function).lower(*arguments).compile()
            return lambda: program(*arguments)

        found[name] = compiled

    for name, (_, _, _, stride, kinds) in [item for item in LAYERS.items() if not few or item[0] in TUNED]:
        inputs, kernel, bias, gradient = _arguments(shape, name, dtype)
        size = inputs[0].shape[-1]
        tiles = {kind: TILES[kind] if name in TUNED and not few else TILES[kind][:1] for kind in kinds}
        for tile in tiles.get("forward", ()):
            job(_key("forward", name, tile), functools.partial(_forward_of, _layer(stride, interpret, forward=tile)),
                kernel, bias, *inputs)
        for tile in tiles.get("inputs", ()):
            job(_key("inputs", name, tile), functools.partial(_inputs_of, _layer(stride, interpret, inputs=tile), size),
                gradient, kernel, inputs[0])
        for tile in tiles.get("weights", ()):
            job(_key("weights", name, tile), functools.partial(_weights_of, _layer(stride, interpret, weights=tile)),
                inputs[0], gradient)
        library = functools.partial(_library, stride)
        job(f"library forward {name}", library, kernel, bias.astype(dtype), *inputs)
        job(f"library backward {name}", functools.partial(_library_backward, stride), gradient, kernel,
            bias.astype(dtype), *inputs)
    inputs, _, _, gradient = _arguments(shape, "conv2", dtype)
    job("weights conv2 as nine products over shifted views", _views, inputs[0], gradient)
    return found


def _layer(stride: int, interpret: bool, **tiles: Tile) -> Layer:
    return Layer(stride, tiles=Tiles(**tiles), interpret=interpret)


def _forward_of(layer, kernel, bias, *parts):
    return forward(layer, parts, kernel, bias)


def _inputs_of(layer, size, gradient, kernel, part):
    return gradient_of_inputs(layer, gradient, kernel[:, :, :size], [part], False)


def _weights_of(layer, part, gradient):
    return gradient_of_weights(layer, part, gradient, False)


def _library(stride, kernel, bias, *parts):
    x = reflect_pad(jnp.concatenate(parts, -1), 1, axes=(1, 2))
    out = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "VALID",
                                       dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jax.nn.relu(out + bias[None, None, None])


def _library_backward(stride, gradient, *arguments):
    return jax.vjp(functools.partial(_library, stride), *arguments)[1](gradient)


def _views(x, gradient):
    x, (_, height, width, _) = reflect_pad(x, 1, axes=(1, 2)), gradient.shape
    views = [x[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return [jnp.einsum("bhwi,bhwo->bio", view, gradient, preferred_element_type=jnp.float32).sum(0) for view in views]


def _key(kernel: str, layer: str, tile: Tile) -> str:
    return f"{kernel} {layer} {tile.rows}×{tile.columns} w{tile.warps} s{tile.stages}"

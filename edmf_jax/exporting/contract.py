"""What the three formats have in common: names, layout, metadata, and the network's wiring."""

import importlib
import json
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from edmf_jax.errors import UserError
from edmf_jax.model import MIN_SIDE_PX
from edmf_jax.weights import Weights, params_sha256

# The function's name, which is in every file: by it `edmf export` knows the files that it may replace.
NAME = "edmf_fuse_luma"
INPUTS, OUTPUT = ("a", "b"), "fused"
INPUT_LAYOUT = f"Y plane, float32 [batch, height, width] in [0, 1], at least {MIN_SIDE_PX} x {MIN_SIDE_PX} px"
OUTPUT_LAYOUT = "fused Y plane, float32 [batch, height, width] in (-1, 1), not clipped"
LAYOUT = f"inputs a, b: {INPUT_LAYOUT}; output fused: {OUTPUT_LAYOUT}"

T = TypeVar("T")


def metadata(weights: Weights) -> dict[str, str]:
    """What a file says of itself, for formats that have a place for it."""
    return {
        "layout": LAYOUT,
        "model": json.dumps(weights.config["model"], sort_keys=True),
        "params_sha256": params_sha256(weights.params),
        "provenance": json.dumps(weights.provenance, sort_keys=True, ensure_ascii=False),
    }


def needed(module: str, format: str, package: str, extra: str) -> ModuleType:
    """Imports `module`, which only one format needs.

    Raises:
      UserError: it can't be imported; the message says which extra brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"--format={format} needs the package {package}, which can't be imported ({error}); install "
                        f'it with: pip install "edmf-jax[{extra}]"') from error


def wire(sources: T, conv: Callable[..., T], enlarge: Callable[[T, T], T]) -> T:
    """`FusionNet.__call__` in another framework's operations.

    Args:
      sources: the two planes as channels.
      conv: `conv(name, *parts, stride=1, activation="relu")`: layer `name` over `parts`, concatenated along the
        channels, with reflected border and bias; `activation` is "relu" or "tanh".
      enlarge: `enlarge(x, like)`: `model.upsample2` of x, cut to the height and width of `like`.

    Returns:
      What conv11 gives, still with its one channel.
    """
    g1 = conv("conv1", sources)
    g2 = conv("conv2", g1)
    g3 = conv("conv3", g1, g2, stride=2)
    g4 = conv("conv4", g3)
    g5 = conv("conv5", g3, g4)
    g6 = conv("conv6", g3, g4, g5)
    d6 = conv("conv66", g6)
    d5 = conv("conv55", g5, d6)
    d4 = conv("conv44", g4, d5)
    d3 = conv("conv33", g3, d4)
    # Stride 2 rounds an odd side up: `enlarge` cuts the surplus row or column off again.
    d2 = conv("conv22", g2, enlarge(d3, g2))
    return conv("conv11", g1, d2, activation="tanh")

"""What the three export formats share: tensor names, layout, metadata and the order of the network's layers."""

import importlib
import json
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from edmf_jax.core.model import MIN_SIDE_PX
from edmf_jax.errors import UserError
from edmf_jax.weights.params import params_sha256
from edmf_jax.weights.store import Weights

# The function's name. Every exported file contains it, so `edmf export` recognizes files that it may replace.
NAME = "edmf_fuse_luma"
INPUTS, OUTPUT = ("a", "b"), "fused"
INPUT_LAYOUT = f"Y plane, float32 [batch, height, width] in [0, 1], at least {MIN_SIDE_PX} x {MIN_SIDE_PX} px"
OUTPUT_LAYOUT = "fused Y plane, float32 [batch, height, width] in (-1, 1), not clipped"
LAYOUT = f"inputs a, b: {INPUT_LAYOUT}; output fused: {OUTPUT_LAYOUT}"

T = TypeVar("T")


def metadata(weights: Weights) -> dict[str, str]:
    """Layout, model config, checksum and provenance as strings, for the formats that can store them."""
    return {
        "layout": LAYOUT,
        "model": json.dumps(weights.config["model"], sort_keys=True),
        "params_sha256": params_sha256(weights.params),
        "provenance": json.dumps(weights.provenance, sort_keys=True, ensure_ascii=False),
    }


def import_for_format(module: str, format: str, package: str, extra: str) -> ModuleType:
    """Imports `module`, an optional dependency of one format.

    Args:
      module: the module to import.
      format: the export format that needs it.
      package: the package that contains it, for the error message.
      extra: the extra of edmf-jax that installs the package.

    Raises:
      UserError: it cannot be imported; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"--format={format} needs the package {package}, which can't be imported ({error}); install "
                        f'it with: pip install "edmf-jax[{extra}]"') from error


def apply_network(sources: T, conv: Callable[..., T], upsample: Callable[[T, T], T]) -> T:
    """`FusionNet.__call__`, expressed in the operations of another framework.

    Args:
      sources: the two planes as two channels.
      conv: `conv(name, *parts, stride=1, activation="relu")` applies layer `name` to `parts`, concatenated along the
        channels, with reflected border and bias; `activation` is "relu" or "tanh".
      upsample: `upsample(x, like)` is `model.upsample2` of x, cropped to the height and width of `like`.

    Returns:
      The output of conv11, with its channel axis of size 1.
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
    # Stride 2 rounds an odd side up, so `upsample` crops the surplus row or column.
    d2 = conv("conv22", g2, upsample(d3, g2))
    return conv("conv11", g1, d2, activation="tanh")

"""How the network that chooses (`core.chooser`) is built: what is needed where no JAX is imported."""

from collections.abc import Mapping, Sequence
from typing import Any

Array = Any  # np.ndarray or jax.Array
Params = Mapping[str, Mapping[str, Array]]

POWER = 10.0  # of the strength, which is the root of the hand-made evidence: twice as sharp counts a thousand times
FLOOR = 1e-3  # of the strength; a quarter of an 8-bit level: flatter areas count as equally sharp in all shots
CLIPPED = 0.995  # of full scale; from here on a value counts as clipped
WHOLE_CELL = 0.999  # of a cell's pixels must be there, for it to count
SIZES = {"small": (8, 10, 16, 24), "medium": (14, 20, 30, 36), "large": (20, 30, 48, 64)}
"""Size → channels at 1/2, 1/4, 1/8, 1/16 of the resolution; about 50, 150 and 400 thousand parameters."""
FEATURES = 9  # of each pixel, see `features`
ENERGIES = 3  # at every scale, of a shot: mean absolute detail of luma near and wide, and of chroma
_COMPARED = 2 * ENERGIES  # of each block: log ratios to the shots' mean and to their maximum
_BEHIND = 4  # at the finest scale: how far each of 2×2 pixels is behind the best hand-made logit
MOST_BEHIND = 3.0
FULL_STRENGTH = 0.02  # of detail: the network is heard half; five 8-bit levels
ENERGY_FLOOR = 0.03  # half an 8-bit level of near detail
OUTPUTS = 5  # of each pixel: correction, gain, offset of R, G and B
BLURS = ((1.0, 3), (3.0, 8), (2.0, 5))  # (σ, half width) px: luma near and wide, and chroma
STRENGTH = 4.0  # of the correction, so that the last layer's weights stay of order 1
MOST_CHANGE = 16.0  # of a logit by the correction: a shot that is 25 times as sharp as another one stays ahead of it


def most_change(shots: int) -> float:
    """By how much a logit is corrected at most among so many shots.

    In stacks it broke thin things before sharp ones, as hairs of an insect often are (docs/chooser.md).
    """
    return MOST_CHANGE if shots <= 3 else 6.0


def kernel_shapes(widths: Sequence[int]) -> dict[str, tuple[int, int, int, int]]:
    """Layer → its kernel's shape, HWIO, in the order in which the network is built."""
    shapes: dict[str, tuple[int, int, int, int]] = {}

    def conv(name, size, inputs, outputs):
        shapes[name] = size, size, inputs, outputs

    def block(name, width):
        conv(f"{name}_a", 3, width, width)
        conv(f"{name}_b", 3, width, width)

    conv("stem", 3, 4 * FEATURES, widths[0])
    for i, width in enumerate(widths):
        if i:
            conv(f"down{i}", 1, 4 * widths[i - 1], width)
        block(f"encode{i}", width)
        conv(f"own{i}", 1, width, width)
        conv(f"pooled{i}", 1, 2 * width, width)
        conv(f"compare{i}", 3 if i == 0 else 1, _COMPARED + (0 if i else _BEHIND), width)
        if i + 1 < len(widths):
            conv(f"up{i}", 1, widths[i + 1], width)
        for name in decoder_blocks(i, len(widths)):
            block(name, width)
    conv("head", 3, widths[0], 4 * OUTPUTS)
    return shapes


def decoder_blocks(scale: int, count: int) -> tuple[str, ...]:
    """Names of the decoder's blocks at one of `count` scales.

    One at the finest scale, which costs most, and at the coarsest, which reaches furthest; two at the others.
    """
    return tuple(f"decode{scale}{i}" for i in range(1 if scale in (0, count - 1) else 2))


def scales(params: Params) -> int:
    """The number of scales."""
    return sum(name.startswith("own") for name in params)


def factor(params: Params) -> int:
    """Sides, and the corners of tiles, are multiples of this many px."""
    return 2 ** scales(params)


def reach_px(params: Params) -> int:
    """A pixel can change the weights and the repair of pixels up to this far away, besides through `hand`.

    The sum of the convolutions' reaches at each scale, of the blurs, and of the rounding to a coarse pixel.
    """
    count = scales(params)
    at = lambda scale: 2 ** (scale + 1)
    decoder = 2 * at(0)  # comparison and head
    for scale in range(count):
        decoder += 2 * at(scale) * len(decoder_blocks(scale, count))
    return encoder_reach_px(params) + decoder


def encoder_reach_px(params: Params) -> int:
    """A pixel can change the `encode` of pixels up to this far away, besides through `hand`."""
    at = lambda scale: 2 ** (scale + 1)
    convolutions = at(0) + sum(2 * at(scale) for scale in range(scales(params)))
    # From a pixel's own coarse pixel, at most its side less one away.
    return convolutions + at(scales(params) - 1) - 1 + max(half for _, half in BLURS)


def count_params(params: Params) -> int:
    """The number of parameters."""
    return sum(x.size for layer in params.values() for x in layer.values())


def certainty(best: Array, xp=None) -> Array:
    """How far the network is heard, in [0, 1]: not where no shot has detail, and the choice is one of noise.

    As `fusion.stack.choice` has it, which takes the choice there from what is around.

    Args:
      best: the best hand-made logit of all shots, −∞ where no shot is valid.
      xp: the array module; None: jax.numpy.
    """
    if xp is None:
        import jax.numpy as xp  # at the head of the file it would cost fusions half a second
    strength = xp.maximum(xp.exp(best / POWER) - FLOOR, 0)
    return strength**4 / (strength**4 + FULL_STRENGTH**4)

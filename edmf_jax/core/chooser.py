"""The network that chooses among leveled shots: a weight for each shot and pixel, in jax.numpy.

It corrects a hand-made logit, which is an input (`hand_made.hand_made_logits`, or any other measure).  For shot k

    logit_k  = hand_k − max_j hand_j + certainty · 4 · correction_k,   weights = softmax over k
    repair   = Σ_k weight_k · (offset_k + gain_k · (pixels_k − blur(pixels_k)))

The last layer starts at zero, so an untrained network makes the hand-made choice exactly.  What the hand-made measure
is sure of stays sure unless the network is surer: a learned factor on its logits was tried, and learned first to doubt
everything (docs/chooser.md).  The repair is for what no shot has right: a defocused foreground of coverage A and color
F lays A·F + (1 − A)·B over the background B, which an offset and a gain on detail undo.

**Order and number of shots are free.**  A U-Net (1/2, 1/4, … of the resolution, pixels unshuffled and shuffled) sees
one shot at a time.  At every scale the shots' features are pooled, maximum and mean, and its decoder compares each
shot's own with the pooled ones.  Besides learned features there are `ENERGIES`, amounts of detail in blocks of each
scale; of them the decoder sees logarithms of ratios, what a hand-made measure would be built from.

**Two passes in bounded memory.**  No encoder sees another shot, so one pass adds each shot's `encode` to the running
maxima and sums of `Pooled`, and a second one takes `decode` of each shot (encoded again) to its logit.  `choose` does
both for shots that are all in memory.

Arrays are `[M, H, W, C]` for M shots (of any number of scenes), or `[B, N, H, W, C]` for B scenes of N shots; sides are
multiples of `factor(params)`; pixels are leveled, in [0, 1]; C is 1 or 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core import chooser_layers as layers
from edmf_jax.core.chooser_layout import (  # noqa: F401  (SIZES and others are known by this module's name, too)
    BLURS,
    ENERGIES,
    ENERGY_FLOOR,
    FEATURES,
    MOST_BEHIND,
    MOST_CHANGE,
    OUTPUTS,
    POWER,
    SIZES,
    STRENGTH,
    certainty,
    count_params,
    decoder_blocks,
    encoder_reach_px,
    factor,
    kernel_shapes,
    most_change,
    reach_px,
    scales,
)
from edmf_jax.core.color import rgb_to_ycbcr
from edmf_jax.core.filters import correlate1d, gaussian_kernel
from edmf_jax.core.hand_made import gray

_LEAST_VALID = 1e-6

Params = layers.Params


class Shots(NamedTuple):
    """What is known of the shots; leading axes `[M]` or `[B, N]`.

    Attributes:
      pixels: `[..., H, W, C]`, leveled; those that are not valid have no effect, whatever they are.
      hand: hand-made logits `[..., H, W]`.
      valid: bool `[..., H, W]`: the shot covers this pixel.
      clipped: `[..., H, W]` in [0, 1]: how much of the pixel's light its shot could not record.
    """

    pixels: jax.Array
    hand: jax.Array
    valid: jax.Array
    clipped: jax.Array


class Encoded(NamedTuple):
    """A shot's features at every scale, `[M, h, w, c]`, and whether it covers any of their pixels, `[M, h, w, 1]`.

    The last `ENERGIES` of the features are the energies.
    """

    features: tuple[jax.Array, ...]
    present: tuple[jax.Array, ...]


class Pooled(NamedTuple):
    """Running maxima, sums and counts over shots at every scale, `[B, h, w, c]`; the largest `hand`, `[B, H, W]`."""

    largest: tuple[jax.Array, ...]
    total: tuple[jax.Array, ...]
    count: tuple[jax.Array, ...]
    hand: jax.Array


class Choice(NamedTuple):
    """Weights `[B, N, H, W]` of sum 1 (0 where no shot is valid), and the repair to add to the mean `[B, H, W, C]`."""

    weights: jax.Array
    repair: jax.Array


# ---- parameters

def init_params(key: jax.Array, widths: tuple[int, ...]) -> Params:
    """Random parameters, `{"stem": {"kernel": HWIO, "bias": [O]}, …}`, float32; the last layer is zero."""
    shapes = kernel_shapes(widths)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    drawn = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])  # one draw: each is slow to compile
    return {name: {"kernel": _deviation(name, shape) * x.reshape(shape), "bias": jnp.zeros(shape[-1])}
            for (name, shape), x in zip(shapes.items(), drawn)}


def _deviation(name: str, shape: tuple[int, ...]) -> float:
    """Of a new kernel: He et al.'s; a block's second one is small, so that a deep stack starts near the identity."""
    gain = {"head": 0.0, "own": 0.7, "pooled": 0.7, "compare": 0.7, "up": 0.7}.get(name.rstrip("0123456789"), 1.0)
    return (0.2 if name.endswith("_b") else gain) * float(np.sqrt(2 / np.prod(shape[:3])))


# ---- one shot

def _blurred(planes: jax.Array, valid: jax.Array, sigma_px: float, half_px: int) -> jax.Array:
    """Gaussian mean of the valid pixels around each pixel of `[M, H, W, C]`; `valid` is `[M, H, W, 1]`, 0 or 1."""
    taps = gaussian_kernel(2 * half_px + 1, sigma_px)
    spread = lambda x: correlate1d(correlate1d(
        jnp.pad(x, ((0, 0), (half_px, half_px), (half_px, half_px), (0, 0))), taps, 1), taps, 2)
    return spread(planes * valid) / jnp.maximum(spread(valid), _LEAST_VALID)


def features(shots: Shots) -> jax.Array:
    """What the network sees of each pixel: `[M, H, W, FEATURES]`, zero where a shot is not valid, of order 1.

    Luma, its detail at two scales, detail of Cb and Cr, log strength of the hand-made measure, clipping, validity.
    """
    valid = shots.valid[..., None].astype(jnp.float32)
    pixels = jnp.where(shots.valid[..., None], shots.pixels, 0)
    y = gray(pixels)[..., None]
    near, wide = (_blurred(y, valid, *blur) for blur in BLURS[:2])
    if pixels.shape[-1] == 3:
        color = jnp.stack(rgb_to_ycbcr(pixels)[1:], -1)
        color = color - _blurred(color, valid, *BLURS[2])
    else:
        color = jnp.zeros((*y.shape[:-1], 2), y.dtype)
    strength = jnp.where(shots.valid, shots.hand, 0)[..., None] / POWER
    seen = [2 * (y - 0.5), 12 * (y - near), 8 * (near - wide), 2 * (wide - 0.5), 12 * color, 0.4 * (strength + 4.5),
            shots.clipped[..., None], jnp.ones_like(y)]
    return jnp.concatenate(seen, -1) * valid


def encode(params: Params, shots: Shots, dtype: jnp.dtype = jnp.float32) -> Encoded:
    """The first pass: features of shots `[M, …]` at every scale, each from its own shot alone."""
    there, present = [], shots.valid[..., None]
    for _ in range(scales(params)):
        present = layers.to_depth(present).any(-1, keepdims=True)
        there.append(present)
    return Encoded(encode_features(params, features(shots), dtype), tuple(there))


def encode_features(params: Params, seen: jax.Array, dtype: jnp.dtype = jnp.float32) -> tuple[jax.Array, ...]:
    """`Encoded.features`, from `features` `[M, H, W, FEATURES]`."""
    x = layers.convolve(params, "stem", layers.to_depth(seen).astype(dtype))
    energy = jnp.stack([jnp.abs(seen[..., 1]), jnp.abs(seen[..., 2]), jnp.abs(seen[..., 4:6]).sum(-1)], -1)
    found = []
    for scale in range(scales(params)):
        if scale:
            x = layers.convolve(params, f"down{scale}", layers.to_depth(layers.activate(x)))
        energy = layers.halved(energy)
        x = layers.block(params, f"encode{scale}", x)
        found.append(jnp.concatenate([layers.activate(x), energy.astype(dtype)], -1))
    return tuple(found)


# ---- over shots

def pool(encoded: Encoded, shots: Shots, shape: tuple[int, int]) -> Pooled:
    """The maxima, sums and counts over the N shots of each of B scenes; `shape` is (B, N), and M = B · N."""
    split = lambda x: x.reshape(*shape, *x.shape[1:])
    largest = [jnp.where(split(p), split(f), -jnp.inf).max(1) for f, p in zip(*encoded)]
    total = [jnp.where(split(p), split(f), 0).sum(1, dtype=jnp.float32) for f, p in zip(*encoded)]
    count = [split(p).sum(1, dtype=jnp.float32) for p in encoded.present]
    hand = jnp.where(split(shots.valid), split(shots.hand), -jnp.inf).max(1)
    return Pooled(tuple(largest), tuple(total), tuple(count), hand)


def join(first: Pooled, second: Pooled) -> Pooled:
    """`Pooled` of the shots of both: the running step of the first pass."""
    return Pooled(*(tuple(map(how, a, b)) for how, a, b in zip((jnp.maximum, jnp.add, jnp.add), first[:3], second[:3])),
                  jnp.maximum(first.hand, second.hand))


def decode(params: Params, shots: Shots, own: Encoded, pooled: Pooled, shots_per_scene: int
           ) -> tuple[jax.Array, jax.Array]:
    """The second pass.

    Args:
      params: the network's.
      shots: `[M, …]`, scene after scene.
      own: their `encode`.
      pooled: over all shots of each scene, these and others.
      shots_per_scene: M / B.

    Returns:
      Logits `[M, H, W]`, −∞ where a shot is not valid; each shot's repair `[M, H, W, C]`.
    """
    behind = jnp.where(shots.valid, shots.hand - jnp.repeat(pooled.hand, shots_per_scene, 0), 0)
    mean = [(total / jnp.maximum(count, 1)).astype(x.dtype)
            for x, total, count in zip(own.features, pooled.total, pooled.count)]
    largest = [jnp.where(count > 0, most, 0).astype(x.dtype)
               for x, most, count in zip(own.features, pooled.largest, pooled.count)]
    out = compare(params, own.features, largest, mean, behind, shots_per_scene)
    heard = jnp.repeat(certainty(pooled.hand), shots_per_scene, 0)
    logits = behind + heard * (relative_logits(out, behind) - behind)
    logits = jnp.where(shots.valid, logits, -jnp.inf)
    return logits, _repair(shots, out[..., 1], out[..., 2:])


def compare(params: Params, own: Sequence[jax.Array], largest: Sequence[jax.Array], mean: Sequence[jax.Array],
            behind: jax.Array, shots_per_scene: int = 1) -> jax.Array:
    """The decoder: what the last layer says of each pixel, `[M, H, W, 5]`.

    Args:
      params: the network's.
      own: `Encoded.features`.
      largest, mean: of these over the shots of each scene, `[M / shots_per_scene, …]`.
      behind: hand-made logits less the largest one, `[M, H, W]`.
      shots_per_scene: of the M.
    """
    spread = lambda x: jnp.repeat(x, shots_per_scene, 0)
    x, count_scales = None, scales(params)
    for scale in reversed(range(count_scales)):
        (own_x, own_energy), (top, top_energy), (middle, mean_energy) = (
            _without_energy(features[scale]) for features in (own, largest, mean))
        compared = [own_energy - spread(mean_energy), own_energy - spread(top_energy)]
        if scale == 0:
            compared.append(layers.to_depth(jnp.maximum(behind[..., None] / POWER, -MOST_BEHIND)).astype(own_x.dtype))
        mixed = (layers.convolve(params, f"own{scale}", own_x)
                 + spread(layers.convolve(params, f"pooled{scale}", jnp.concatenate([top, middle], -1)))
                 + layers.convolve(params, f"compare{scale}", jnp.concatenate(compared, -1)))
        x = mixed if x is None else mixed + layers.twice(layers.convolve(params, f"up{scale}", layers.activate(x)))
        for name in decoder_blocks(scale, count_scales):
            x = layers.block(params, name, x)
    return layers.to_space(layers.convolve(params, "head", layers.activate(x))).astype(jnp.float32)


def relative_logits(out: jax.Array, behind: jax.Array) -> jax.Array:
    """Logits `[M, H, W]` beyond the best hand-made one where certain, of `compare` and its `behind`."""
    return behind + jnp.clip(STRENGTH * out[..., 0], -MOST_CHANGE, MOST_CHANGE)


def _without_energy(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Learned features, and logarithms of the energies, from features `[M, h, w, c]`."""
    return x[..., :-ENERGIES], jnp.log(jnp.maximum(x[..., -ENERGIES:], 0) + ENERGY_FLOOR)


def _repair(shots: Shots, gain: jax.Array, offset: jax.Array) -> jax.Array:
    valid = shots.valid[..., None]
    pixels = jnp.where(valid, shots.pixels, 0)
    detail = pixels - _blurred(pixels, valid.astype(jnp.float32), *BLURS[1])
    if pixels.shape[-1] == 1:
        offset = offset.mean(-1, keepdims=True)
    return jnp.where(valid, 0.2 * offset + gain[..., None] * detail, 0)


def softmax(logits: jax.Array) -> jax.Array:
    """Softmax over axis 1 of `[B, N, H, W]`; 0 where every logit is −∞."""
    top = jax.lax.stop_gradient(logits.max(1, keepdims=True))
    e = jnp.exp(logits - jnp.where(jnp.isfinite(top), top, 0))
    return e / jnp.maximum(e.sum(1, keepdims=True), jnp.finfo(jnp.float32).tiny)


def choose(params: Params, shots: Shots, dtype: jnp.dtype = jnp.float32) -> tuple[jax.Array, jax.Array]:
    """Logits `[B, N, H, W]` and repairs `[B, N, H, W, C]` of shots `[B, N, …]` that are all in memory.

    Raises:
      ValueError: a side is not a multiple of `factor(params)`.
    """
    shape, size = shots.hand.shape[:2], shots.hand.shape[2:]
    if size[0] % factor(params) or size[1] % factor(params):
        raise ValueError(f"the chooser takes sides that are multiples of {factor(params)} px, got {size[0]}×{size[1]}")
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), shots)
    own = encode(params, flat, dtype)
    logits, repairs = decode(params, flat, own, pool(own, flat, shape), shape[1])
    return logits.reshape(*shape, *size), repairs.reshape(*shape, *repairs.shape[1:])


def choice(logits: jax.Array, repairs: jax.Array) -> Choice:
    """Weights and repair from what `choose` returns; the repair does not teach the weights (no gradient)."""
    weights = softmax(logits)
    return Choice(weights, (jax.lax.stop_gradient(weights)[..., None] * repairs).sum(1))

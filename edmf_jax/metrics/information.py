"""Entropy and mutual information of gray levels, in bits (logarithms to base 2).

Levels are rounded to the 256 gray levels first.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from edmf_jax.core.valid_size import ValidSize, full_size
from edmf_jax.metrics.bands import Planes, fold_bands

LEVELS = 256


def entropy(x: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """EN: the Shannon entropy of the gray-level histogram, −Σ p log2 p over 256 levels.

    In [0, 8] bits; higher is better.  0 for a constant picture.  Roberts, van Aardt and Ahmed 2008, J. Applied Remote
    Sensing 2(1), 023522, DOI 10.1117/1.2945910.

    Args:
      x: picture `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    return entropy_of_counts(histogram(x, full_size(x) if valid_size is None else valid_size))


def mutual_information(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None, textbook: bool = False
) -> jax.Array:
    """MI: the information that the fused picture has about its sources, I(F, A) + I(F, B), a sum.

    I(F, X) = H(X) + H(F) − H(F, X).

    In [0, 16] bits; higher is better.  2·EN where all three pictures are equal, 0 (but see below) where the fused
    picture or both sources are constant.  Qu, Zhang and Yan 2002, DOI 10.1049/el:20020212.

    The toolbox of Table 2 counts the joint histogram with indices that saturate, so that levels 254 and 255 share a bin
    there (and not in H(X), H(F)).  This makes MI some 10⁻³ too high where a picture has 255s, and above 0 even for a
    constant fused picture.  That is the default; `textbook=True` keeps all 256 levels apart.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.
      textbook: the published definition instead of the toolbox's.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    return sum(_information(joint_histogram(x, fused, valid_size), merge=not textbook) for x in (a, b))


def normalized_mutual_information(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None
) -> jax.Array:
    """Q_MI: 2 · (I(F, A) / (H(F) + H(A)) + I(F, B) / (H(F) + H(B))).

    In [0, 2], no unit; higher is better.  2 where all three pictures are equal; 0 where the fused picture alone is
    constant; NaN where the fused picture and a source are both constant.

    It uses 256 levels and merges no bins.  (The usual implementation, `metricMI`, stretches each picture to 0…255
    first; that merges no levels and changes nothing.)  Hossny, Nahavandi and Creighton 2008, DOI 10.1049/el:20081754.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size

    def term(source: jax.Array) -> jax.Array:
        joint = joint_histogram(source, fused, valid_size)
        return _information(joint) / (entropy_of_counts(joint.sum(-1)) + entropy_of_counts(joint.sum(-2)))

    return 2 * (term(a) + term(b))


def to_levels(x: jax.Array) -> jax.Array:
    """Every pixel rounded to the nearest gray level: uint8, `[..., H, W]`."""
    return x if x.dtype == jnp.uint8 else jnp.clip(jnp.round(x), 0, LEVELS - 1).astype(jnp.uint8)


def histogram(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The count of every gray level: `[..., 256]` int32, exact."""
    return _count(lambda x: x, (to_levels(x),), LEVELS, valid_size)


def joint_histogram(x: jax.Array, y: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The count of every pair of gray levels: `[..., 256, 256]` int32; rows are the levels of `x`."""
    counts = _count(lambda x, y: LEVELS * x + y, (to_levels(x), to_levels(y)), LEVELS**2, valid_size)
    return counts.reshape(*counts.shape[:-1], LEVELS, LEVELS)


def _count(index: Callable, planes: Planes, bins: int, valid_size: ValidSize) -> jax.Array:
    """Counts of the bin numbers `index(*planes)`, which are below `bins`, in the valid part: `[..., bins]`."""
    # Scatter-add takes 2 ns a pixel on a CPU; sorting, or a product of one-hot planes, over ten times that.
    scatter = jax.vmap(lambda counts, bin_number, weight: counts.at[bin_number].add(weight))

    def add(counts: jax.Array, band: Planes, is_counted: Callable) -> jax.Array:
        bin_numbers = index(*(x.astype(jnp.int32) for x in band))
        flat = lambda x: x.reshape(len(counts), -1)
        return scatter(counts, flat(bin_numbers), flat(is_counted(bin_numbers).astype(jnp.int32)))

    batch = planes[0].shape[:-2]
    counts = fold_bands(add, jnp.zeros((math.prod(batch), bins), jnp.int32), planes, valid_size)
    return counts.reshape(*batch, bins)


def entropy_of_counts(counts: jax.Array) -> jax.Array:
    """Shannon entropy [bit] of the counts along the last axis, with 0·log 0 = 0."""
    pixels = jnp.sum(counts, axis=-1, keepdims=True)
    probability = counts / pixels
    # A division may be compiled as a product and miss 1, whose logarithm must be 0.
    no_term = (counts == 0) | (counts == pixels)
    return jnp.sum(probability * -jnp.log2(jnp.where(no_term, 1, probability)), axis=-1)


def _information(joint: jax.Array, *, merge: bool = False) -> jax.Array:
    """H(X) + H(Y) − H(X, Y) of a joint histogram; `merge` puts levels 254 and 255 into one bin of the joint term."""
    marginals = entropy_of_counts(joint.sum(-1)) + entropy_of_counts(joint.sum(-2))
    if merge:
        joint = joint[..., :-1, :].at[..., -1, :].add(joint[..., -1, :])
        joint = joint[..., :-1].at[..., -1].add(joint[..., -1])
    return marginals - entropy_of_counts(joint.reshape(*joint.shape[:-2], -1))

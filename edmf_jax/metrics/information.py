"""Entropy and mutual information of grey levels.

Planes are `[..., H, W]` in 0…255 and are rounded to the 256 grey levels first;
`frame` gives the true size of padded planes (`frames`).  One number per plane.
Logarithms are to the base 2: bits.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from edmf_jax.metrics.bands import Planes, fold_bands
from edmf_jax.metrics.frames import Frame, whole

LEVELS = 256


def entropy(x: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """EN, the Shannon entropy of the grey-level histogram: −Σ p log2 p over 256 unit bins.

    [0, 8] bits, higher is better; 0 for a constant picture.  Roberts, van Aardt
    and Ahmed 2008, J. Applied Remote Sensing 2(1), 023522.
    """
    return entropy_of_counts(histogram(x, whole(x) if frame is None else frame))


def mutual_information(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None, textbook: bool = False
) -> jax.Array:
    """MI, what the fused picture tells about its sources: I(F, A) + I(F, B), a sum, in bits.

    I(F, X) = H(X) + H(F) − H(F, X).  [0, 16] bits, higher is better; 2·EN where
    all three are equal, 0 (see below) where the fused picture or both sources
    are constant.
    Qu, Zhang and Yan 2002, DOI 10.1049/el:20020212.

    The toolbox of the paper's Table 2 counts the joint histogram with indices
    that saturate, so that levels 254 and 255 share a bin there (and not in H(X),
    H(F)): some 10⁻³ too high where a picture has 255s, and above 0 even for a
    constant fused picture.  That is the default; `textbook=True` keeps all 256
    levels apart.
    """
    frame = whole(fused) if frame is None else frame
    return sum(_information(joint_histogram(x, fused, frame), merge=not textbook) for x in (a, b))


def normalized_mutual_information(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None
) -> jax.Array:
    """Q_MI: 2 · (I(F, A) / (H(F) + H(A)) + I(F, B) / (H(F) + H(B))).

    [0, 2], higher is better; 2 where all three are equal.  256 levels, no
    merged bins (the usual implementation, `metricMI`, stretches each picture to
    0…255 first, which merges no levels and changes nothing).  NaN where the
    fused picture and a source are both constant.  Hossny, Nahavandi and Creighton 2008, DOI 10.1049/el:20081754.
    """
    frame = whole(fused) if frame is None else frame

    def term(source: jax.Array) -> jax.Array:
        joint = joint_histogram(source, fused, frame)
        return _information(joint) / (entropy_of_counts(joint.sum(-1)) + entropy_of_counts(joint.sum(-2)))

    return 2 * (term(a) + term(b))


def levels(x: jax.Array) -> jax.Array:
    """The nearest grey level of every pixel, an integer in 0…255."""
    return x if x.dtype == jnp.uint8 else jnp.clip(jnp.round(x), 0, LEVELS - 1).astype(jnp.uint8)


def histogram(x: jax.Array, frame: Frame) -> jax.Array:
    """How often each grey level occurs: `[..., 256]` int32, exact."""
    return _count(lambda x: x, (levels(x),), LEVELS, frame)


def joint_histogram(x: jax.Array, y: jax.Array, frame: Frame) -> jax.Array:
    """How often each pair of grey levels occurs: `[..., 256, 256]` int32, rows are the levels of `x`."""
    counts = _count(lambda x, y: LEVELS * x + y, (levels(x), levels(y)), LEVELS**2, frame)
    return counts.reshape(*counts.shape[:-1], LEVELS, LEVELS)


def _count(index: Callable, planes: Planes, bins: int, frame: Frame) -> jax.Array:
    """How often `index(*planes)` takes each value below `bins` within the frame."""
    # Scatter-add takes 2 ns a pixel on a CPU; sorting, or a product of one-hot planes, over ten times that.
    scatter = jax.vmap(lambda counts, at, weight: counts.at[at].add(weight))

    def add(counts: jax.Array, cut: Planes, counted: Callable) -> jax.Array:
        at = index(*(x.astype(jnp.int32) for x in cut))
        flat = lambda x: x.reshape(len(counts), -1)
        return scatter(counts, flat(at), flat(counted(at).astype(jnp.int32)))

    batch = planes[0].shape[:-2]
    counts = fold_bands(add, jnp.zeros((math.prod(batch), bins), jnp.int32), planes, frame)
    return counts.reshape(*batch, bins)


def entropy_of_counts(counts: jax.Array) -> jax.Array:
    """Shannon entropy in bits of the counts along the last axis; 0·log 0 = 0."""
    pixels = jnp.sum(counts, axis=-1, keepdims=True)
    probability = counts / pixels
    # A division may be done as a product and miss 1, whose logarithm must be 0.
    certain = (counts == 0) | (counts == pixels)
    return jnp.sum(probability * -jnp.log2(jnp.where(certain, 1, probability)), axis=-1)


def _information(joint: jax.Array, *, merge: bool = False) -> jax.Array:
    """H(X) + H(Y) − H(X, Y) of a joint histogram; `merge` puts levels 254 and 255 into one joint bin."""
    marginals = entropy_of_counts(joint.sum(-1)) + entropy_of_counts(joint.sum(-2))
    if merge:
        joint = joint[..., :-1, :].at[..., -1, :].add(joint[..., -1, :])
        joint = joint[..., :-1].at[..., -1].add(joint[..., -1])
    return marginals - entropy_of_counts(joint.reshape(*joint.shape[:-2], -1))

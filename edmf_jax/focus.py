"""Spatial frequency: how sharp a picture is, and where (paper section 4.2).

Planes are `[..., H, W]` in [0, 1].  Definition: Eskicioglu and Fisher, Image
quality measures and their performance, 1995, DOI 10.1109/26.477498; as an
activity measure for fusion: Li, Kwok and Wang, 2001, DOI 10.1016/S1566-2535(01)00038-0.
"""

import jax
import jax.numpy as jnp

from edmf_jax.filters import box_filter, correlate1d, gaussian_kernel, laplacian, reflect_pad

DETAIL_SIGMA_PX = 1.0
EXPOSURE_WINDOW_PX = 19


def spatial_frequency(x: jax.Array) -> jax.Array:
    """Spatial frequency of each plane, one number: √(RF² + CF²), in the plane's own unit.

    RF² and CF² are the mean squared first differences along rows and columns
    (means over the H·(W−1) and (H−1)·W differences there are).  0 for a
    constant plane; unchanged by an added constant, by mirroring and transposing.
    """
    row = jnp.mean(jnp.square(jnp.diff(x, axis=-1)), axis=(-2, -1))
    column = jnp.mean(jnp.square(jnp.diff(x, axis=-2)), axis=(-2, -1))
    return jnp.sqrt(row + column)


def local_spatial_frequency(x: jax.Array, window_px: int = 19) -> jax.Array:
    """Spatial frequency about every pixel: `[..., H, W]` → `[..., H, W]`.

    Backward differences (0 in the first row and column), squared, averaged over
    an odd `window_px`×`window_px` square with reflected borders, root.
    """
    row = jnp.square(x[..., :, 1:] - x[..., :, :-1])
    column = jnp.square(x[..., 1:, :] - x[..., :-1, :])
    no_batch = [(0, 0)] * (x.ndim - 2)
    energy = jnp.pad(row, [*no_batch, (0, 0), (1, 0)]) + jnp.pad(column, [*no_batch, (1, 0), (0, 0)])
    # The mean of squares is never negative; rounding of the shifted sums cannot make it so either.
    return jnp.sqrt(box_filter(energy, window_px))


def local_gradient(x: jax.Array, window_px: int = 19) -> jax.Array:
    """Mean magnitude of the 4-neighbour Laplacian about every pixel: `[..., H, W]` → `[..., H, W]`.

    What MUFusion averages over 19×19 px (DOI 10.1016/j.inffus.2022.11.010) of the picture itself, not of
    VGG-19's features.
    """
    return box_filter(jnp.abs(laplacian(x)), window_px)


ACTIVITIES = {"spatial-frequency": local_spatial_frequency, "gradient": local_gradient}
"""`focus.activity` → how sharp a plane is about every pixel."""


def emphasise(x: jax.Array, gain: float, floor: float) -> jax.Array:
    """Planes with their fine detail made stronger, clipped to [0, 1]: an unsharp mask that leaves noise alone.

    x + gain · soft(x − G(x)), G a Gaussian of σ = 1 px over 7×7 with reflected borders and
    soft(d) = sign(d) · max(|d| − floor, 0).  Constant planes are unchanged.

    Args:
      gain: ≥ 0.
      floor: ≥ 0, in the planes' unit.
    """
    weights = gaussian_kernel(7, DETAIL_SIGMA_PX)
    smooth = correlate1d(correlate1d(reflect_pad(x, 3), weights, -2), weights, -1)
    detail = x - smooth
    detail = jnp.sign(detail) * jnp.maximum(jnp.abs(detail) - floor, 0)
    return jnp.clip(x + gain * detail, 0, 1)


def levelled(planes: jax.Array, share: float) -> jax.Array:
    """Both sources of pairs brought towards the middle of their exposures, each with its own detail: `[..., 2, H, W]`.

    I_k + share · S((I_1 + I_2) / 2 − I_k), clipped to [0, 1]; S is the mean over 19×19 px, twice, with reflected
    borders: wider than common defocus, so that what differs by focus alone stays with its source.  Sources that
    differ by a constant become equal at share 1; equal ones are unchanged.

    Args:
      share: 0 (own exposures) to 1 (the middle).  Sides must be at least 10 px.
    """
    difference = planes.mean(-3, keepdims=True) - planes
    return jnp.clip(planes + share * box_filter(box_filter(difference, EXPOSURE_WINDOW_PX), EXPOSURE_WINDOW_PX), 0, 1)


def blended(targets: jax.Array, sources: jax.Array, exponent: float, floor: float, window_px: int = 19,
            activity: str = "spatial-frequency") -> jax.Array:
    """Both targets of pairs replaced by one mean of them, weighed by how sharp the sources are: `[..., 2, H, W]`.

    The weight of target k is (A_k + floor)^exponent, A_k the activity about every pixel.  What is clearly sharper has
    nearly all of it; where neither is (flat parts, far defocus), the mean of both halves the noise's power, and there
    is no seam.  The masks of `focus_masks` are its limit for a large exponent and no floor.

    Args:
      targets, sources: `[..., 2, H, W]`; equal targets are unchanged.
      exponent: > 0.
      floor: > 0, in the planes' unit: differences in activity far below it do not count.
      window_px, activity: as in `focus_masks`.
    """
    activities = jnp.log(ACTIVITIES[activity](sources, window_px) + floor)
    weights = jax.nn.softmax(exponent * activities, axis=-3)
    return jnp.broadcast_to(jnp.sum(weights * targets, axis=-3, keepdims=True), targets.shape)


def focus_masks(source_a: jax.Array, source_b: jax.Array, window_px: int = 19, activity: str = "spatial-frequency"
                ) -> tuple[jax.Array, jax.Array]:
    """Masks M1, M2 of Eqs. 2, 4 and 6: 1 where the source is the sharper one, else 0.

    M1 = [SF1 ≥ SF2] (a tie belongs to the first source), M2 = 1 − M1; same
    shape and dtype as the sources.

    Args:
      source_a, source_b: `[..., H, W]`.
      window_px: odd.
      activity: one of `ACTIVITIES`; spatial frequency is the paper's.

    Raises:
      ValueError: the sources' shapes differ.
    """
    if source_a.shape != source_b.shape:
        raise ValueError(f"focus_masks: the sources differ in shape, {source_a.shape} and {source_b.shape}")
    measure = ACTIVITIES[activity]
    sharper = measure(source_a, window_px) >= measure(source_b, window_px)
    mask_a = sharper.astype(source_a.dtype)
    return mask_a, 1 - mask_a

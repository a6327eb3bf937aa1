"""Spatial frequency: how sharp a picture is, as one number and about every pixel (paper, section 4.2).

Planes are `[..., H, W]` in [0, 1].  Definition: Eskicioglu and Fisher, Image quality measures and their performance,
1995, DOI 10.1109/26.477498; as an activity measure for fusion: Li, Kwok and Wang, 2001,
DOI 10.1016/S1566-2535(01)00038-0.
"""

import jax
import jax.numpy as jnp

from edmf_jax.core.differences import squared_differences
from edmf_jax.core.filters import box_filter, laplacian


def spatial_frequency(x: jax.Array) -> jax.Array:
    """Spatial frequency of each plane, `[..., H, W]` → `[...]`: √(RF² + CF²), in the plane's own unit.

    RF² and CF² are the mean squared first differences along rows and columns, over H·(W−1) and (H−1)·W differences.
    0 for a constant plane; unchanged by an added constant, by mirroring and by transposing.
    """
    row = jnp.mean(jnp.square(jnp.diff(x, axis=-1)), axis=(-2, -1))
    column = jnp.mean(jnp.square(jnp.diff(x, axis=-2)), axis=(-2, -1))
    return jnp.sqrt(row + column)


def local_spatial_frequency(x: jax.Array, window_px: int = 19) -> jax.Array:
    """Spatial frequency about every pixel: `[..., H, W]` → `[..., H, W]`.

    Backward differences (0 in the first row and column), squared, averaged over an odd `window_px`×`window_px`
    square with reflected borders, then the root.  `fusion.stack.sharpness` has a twin for NumPy and OpenCV.
    """
    energy = squared_differences(x, jnp)
    # Safe for the root: a box filter of squares is never negative, since its shifted sums have no negative terms.
    return jnp.sqrt(box_filter(energy, window_px))


def local_gradient(x: jax.Array, window_px: int = 19) -> jax.Array:
    """Mean magnitude of the 4-neighbor Laplacian about every pixel: `[..., H, W]` → `[..., H, W]`.

    MUFusion's measure (DOI 10.1016/j.inffus.2022.11.010, averaged over 19×19 px), but of the picture itself instead
    of VGG-19's features.
    """
    return box_filter(jnp.abs(laplacian(x)), window_px)


ACTIVITIES = {"spatial-frequency": local_spatial_frequency, "gradient": local_gradient}
"""Activity measure (how sharp a plane is about every pixel) by its name in `focus.activity`."""


def focus_masks(source_a: jax.Array, source_b: jax.Array, window_px: int = 19, activity: str = "spatial-frequency"
                ) -> tuple[jax.Array, jax.Array]:
    """Masks M1, M2 of Eqs. 2, 4 and 6: 1 where the source is the sharper one, else 0.

    M1 = [SF1 ≥ SF2], so a tie belongs to the first source; M2 = 1 − M1.  Shape and dtype are those of the sources.

    Args:
      source_a, source_b: `[..., H, W]`.
      window_px: side of the window of the activity measure, odd.
      activity: one of `ACTIVITIES`; spatial frequency is the paper's.

    Raises:
      ValueError: the sources' shapes differ.
    """
    if source_a.shape != source_b.shape:
        raise ValueError(f"focus_masks: the sources differ in shape, {source_a.shape} and {source_b.shape}")
    measure = ACTIVITIES[activity]
    return masks_from_activities(measure(source_a, window_px), measure(source_b, window_px))


def masks_from_activities(activity_a: jax.Array, activity_b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`focus_masks` of sources whose activities are known: M1 = [activity 1 ≥ activity 2], M2 = 1 − M1."""
    mask_a = (activity_a >= activity_b).astype(activity_a.dtype)
    return mask_a, 1 - mask_a

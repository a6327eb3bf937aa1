"""SAMF: no learning; filtered SSIM maps decide, and what stays uncertain is averaged by saliency.

Li, Li, Tan, Li 2024, arXiv 2401.08357, "Small-area-aware multi-focus image fusion for object detection".  In float64,
as in the authors' MATLAB program: the decision compares numbers that are nearly equal.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.buckets import pad_to_bucket
from edmf_jax.core.color import luma_levels, rgb_to_gray
from edmf_jax.core.filters import correlate1d, gaussian_kernel
from edmf_jax.core.ssim import Moments, ssim_map
from edmf_jax.core.valid_size import ValidSize, replicate_edge, valid_mask, zero_outside
from edmf_jax.methods.base import MethodInfo, check_images
from edmf_jax.methods.domain_transform import recursive_filter
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.planes import levels_rounded_up

BLUR_SIGMA_PX, LARGEST_BLUR_PX = 23, 5
MAJORITY_PX = 23
INFO = MethodInfo(
    name="samf", title="SAMF", paper="Li, Li, Tan, Li, ICASSP", year=2024, doi="10.48550/arXiv.2401.08357",
    verified="with --as-published: the authors' program (in Octave) on Lytro 1: map and fused picture equal")


def load(weights: None = None, *, as_published: bool = False) -> "Samf":
    """The method, ready to fuse; it has no weights.

    Args:
      weights: None.
      as_published: gray and rounding are MATLAB's (a difference of at most one level in few pixels).
    """
    return Samf(as_published)


@dataclasses.dataclass(frozen=True)
class Samf:
    """A `methods.base.Fuser` of two pictures."""

    as_published: bool = False

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        share = self.decision_map(images)
        stack, size = pad_to_bucket(np.stack([x.reshape(*x.shape[:2], -1) for x in images]))
        padded_share = np.full(stack.shape[1:3], 0.5)
        padded_share[: size.height, : size.width] = share
        with jax.enable_x64(True):
            fused = np.asarray(_compose(np.moveaxis(stack, -1, 1), padded_share, *size))
        levels = np.moveaxis(fused, 0, -1)[: size.height, : size.width].reshape(images[0].shape)
        return levels_rounded_up(levels) if self.as_published else to_levels(levels)

    def decision_map(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The share of the first picture: 1, 0, or 0.5 where it is uncertain; float32 `[H, W]`."""
        check_images(images, INFO.name)
        to_gray = rgb_to_gray if self.as_published else luma_levels
        gray = np.stack([x if x.ndim == 2 else to_gray(x) for x in images])
        padded, size = pad_to_bucket(gray)
        with jax.enable_x64(True):
            planes = _decide(padded, *size)
        sharper, from_a, from_b = (np.asarray(x)[: size.height, : size.width] for x in planes)
        is_a = majority(sharper)
        return (0.5 + 0.5 * (from_a & is_a) - 0.5 * (from_b & ~is_a)).astype(np.float32)


@jax.jit
def _decide(levels: jax.Array, height: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gray levels `[2, H, W]` → where A is more similar to the pre-fused picture, and where it or B clearly is."""
    size = ValidSize(height, width)
    gray = zero_outside(levels / 255.0, size)
    prefused = prefuse(gray, size)
    similarity = similarity_maps(prefused, gray, size)
    smooth = recursive_filter(similarity, gray, size, sigma_space=5, sigma_range=0.25)
    difference = similarity[:1] - similarity[1:]
    doubt = jnp.abs(recursive_filter(difference, gray[:1], size, sigma_space=2, sigma_range=0.2))[0]
    sharper = smooth[0] > smooth[1]
    clear = jnp.abs(smooth[0] - smooth[1]) > 0.5 * doubt
    return sharper, clear & sharper, clear & ~sharper


def prefuse(gray: jax.Array, size: ValidSize) -> jax.Array:
    """A first fusion of gray `[2, H, W]` in [0, 1]: base by saliency, details by their strength; `[H, W]`, not clipped.

    Args:
      gray: A and B, 0 beyond the true size.
      size: the true size.
    """
    details = jnp.zeros_like(gray)
    for window_px in range(1, LARGEST_BLUR_PX + 1):
        blurred = _blur(gray, window_px)
        details = details + (gray - blurred)
    details = zero_outside(details, size)
    strength = jnp.log10(1 + jnp.sum(details**2, (1, 2)) / size.pixels)
    mean = (strength[0] * details[0] + strength[1] * details[1]) / jnp.where(strength.sum() > 0, strength.sum(), 1)
    larger = jnp.where(details[0] > details[1], details[0], details[1])
    weights = [saliency(jnp.floor(255 * x + 0.5).astype(jnp.int32), size) for x in blurred]
    base = _weighted(weights, gray)
    return base + jnp.where(strength[0] - strength[1] > 0.04, larger, mean)


def _blur(x: jax.Array, window_px: int) -> jax.Array:
    """Gaussian blur over zeros; an even window reaches one sample farther down and right than up and left."""
    weights = gaussian_kernel(window_px, BLUR_SIGMA_PX)
    before = (window_px - 1) // 2
    pad = (before, window_px - 1 - before)
    padded = jnp.pad(x, ((0, 0), pad, pad))
    return correlate1d(correlate1d(padded, weights, -2), weights, -1)


def saliency(levels: jax.Array, size: ValidSize) -> jax.Array:
    """How far a gray level is from all others of the picture, stretched to [0, 1]; `[H, W]`, 0 for a constant picture.

    Args:
      levels: integers 0…255, `[H, W]`.
      size: the true size; levels beyond it do not count.
    """
    counts = jnp.bincount(levels.ravel(), valid_mask(levels, size).ravel().astype(float), length=256)
    level = jnp.arange(256)
    distances = jnp.abs(level[:, None] - level[None, :]).astype(float) @ counts
    present = counts > 0
    low = jnp.min(jnp.where(present, distances, jnp.inf))
    span = jnp.max(jnp.where(present, distances, -jnp.inf)) - low
    return ((distances - low) / jnp.where(span > 0, span, 1))[levels]


def _weighted(weights: Sequence[jax.Array], sources: jax.Array) -> jax.Array:
    """A and B `[2, H, W]`, shared according to their saliencies."""
    difference = weights[0] - weights[1]
    return (0.5 + 0.5 * difference) * sources[0] + (0.5 - 0.5 * difference) * sources[1]


def similarity_maps(image: jax.Array, sources: jax.Array, size: ValidSize) -> jax.Array:
    """SSIM maps of a picture `[H, W]` with each of `[2, H, W]`, as MATLAB's `ssim`: repeated edges, range 1."""
    weights = gaussian_kernel(11, 1.5)

    def smooth(x):
        return correlate1d(correlate1d(replicate_edge(x, size, 5), weights, -2), weights, -1)

    image = jnp.broadcast_to(image[None], sources.shape)
    return ssim_map(Moments(smooth(image), smooth(image * image)), Moments(smooth(sources), smooth(sources * sources)),
                    smooth(image * sources))


def majority(mask: np.ndarray) -> np.ndarray:
    """Whether at least half of the 23×23 px about a pixel of a bool mask are True; edges mirrored: bool `[H, W]`."""
    count = cv2.boxFilter(_mirrored(mask), cv2.CV_32F, (MAJORITY_PX, MAJORITY_PX), normalize=False)
    border = MAJORITY_PX // 2
    return count[border:-border, border:-border] >= MAJORITY_PX**2 / 2


def _mirrored(mask: np.ndarray) -> np.ndarray:
    return np.pad(mask, MAJORITY_PX // 2, mode="symmetric").astype(np.float32)


@jax.jit
def _compose(levels: jax.Array, share: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    """Levels `[C, H, W]` of channels `[2, C, H, W]`: A, B, or their mean by saliency where `share` is 0.5."""
    size = ValidSize(height, width)
    channels = []
    for channel in range(levels.shape[1]):
        pair = levels[:, channel].astype(jnp.int32)
        mean = _weighted([saliency(x, size) for x in pair], pair)
        channels.append(jnp.where(share == 1, pair[0], jnp.where(share == 0, pair[1], mean)))
    return jnp.stack(channels)

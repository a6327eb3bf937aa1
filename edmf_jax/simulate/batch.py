"""A batch of simulated shots, and what a network that chooses among them is to learn."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from edmf_jax.core.color import linear_to_srgb
from edmf_jax.core.filters import box_filter
from edmf_jax.simulate import camera, coverage, lens, registration
from edmf_jax.simulate.atlas import Atlas
from edmf_jax.simulate.draws import chance, trailing
from edmf_jax.simulate.ranges import Ranges
from edmf_jax.simulate.scenes import Scene, composite, draw_focus, draw_scenes

MARGIN_PX = 8
"""Cut off on each side at the end: registration errors look beyond the patch."""
_SHARP_PX, _BLURRED_PX = 1.0, 2.5  # radii between which "in focus" ends
_ERROR_WINDOW_PX = 3


class Batch(NamedTuple):
    """B samples of N shots, P px square.

    Attributes:
      pixels: `[B, N, P, P, 3]` in [0, 1], leveled and registered as well as that can be done; 0 where not valid.
      valid: bool `[B, N, P, P]`.
      clipped: `[B, N, P, P]`, 1 where a shot could not record the light.
      target: `[B, P, P, 3]`: the sharp scene; where no shot has it in focus, as the least blurred shot has it.
      error: `[B, N, P, P]`: how far each shot is from the target around each pixel, before noise and registration
        errors; ∞ where not valid.
    """

    pixels: jax.Array
    valid: jax.Array
    clipped: jax.Array
    target: jax.Array
    error: jax.Array


def canvas_px(patch_px: int) -> int:
    """The sides of the scenes from which patches are cut."""
    return patch_px + 2 * MARGIN_PX


class Exposures(NamedTuple):
    """What lenses drew of a batch, before cameras record it; `develop` makes batches of it."""

    sample: "_Sample"
    seen: lens.Seen


def draw_batch(key: jax.Array, atlas: Atlas, samples: int, shots: int, patch_px: int, ranges: Ranges) -> Batch:
    """A random batch; a function of its arguments.

    Each stage is a program of its own if this is called outside of `jit`, and one with the rest inside.  On a CPU the
    former is several times faster: XLA's compiler there computes a stage again in every consumer of its result.

    Args:
      key: decides on everything.
      atlas: made for windows of `canvas_px(patch_px)`.
      samples, shots, patch_px: B, N and P; P a multiple of 8.
      ranges: what is drawn from.
    """
    optics, camera_key = jax.random.split(key)
    return develop(camera_key, draw_exposures(optics, atlas, samples, shots, patch_px, ranges), ranges)


def draw_exposures(key: jax.Array, atlas: Atlas, samples: int, shots: int, patch_px: int, ranges: Ranges) -> Exposures:
    """The first part of `draw_batch`: scenes and optics, which take two thirds of its time."""
    sample, lens_key = jax.random.split(key)
    taken = _draw_sample(sample, atlas, samples, shots, canvas_px(patch_px), ranges)
    return Exposures(taken, _through_lens(lens_key, taken, ranges))


def develop(key: jax.Array, exposed: Exposures, ranges: Ranges, turn: int = 0) -> Batch:
    """The second part of `draw_batch`: camera, registration and coverage, all of them random.

    Args:
      key: decides on everything.
      exposed: of `draw_exposures`; may be used several times.
      ranges: what is drawn from.
      turn: the batch's pictures are transposed if this is odd, and then mirrored if half of it is odd.
    """
    taken, seen = exposed
    camera_key, noise_key, registration_key = jax.random.split(key, 3)
    pixels, clipped, target, error = _record(camera_key, seen, taken, ranges)
    pixels, target = _add_noise(noise_key, pixels, target, ranges)
    pixels, target = _compress_and_move(registration_key, pixels, target, seen.radius, ranges)
    batch = _cover(registration_key, pixels, clipped, target, error, taken, ranges)
    if not turn % 4:
        return batch

    def turned(x, first):
        x = jnp.swapaxes(x, first, first + 1) if turn % 2 else x
        return jnp.flip(x, first) if turn // 2 % 2 else x

    return Batch(*(turned(x, first) for x, first in zip(batch, (2, 2, 2, 1, 2))))


class _Sample(NamedTuple):
    """Scenes, the focus of their shots, the truth `[B, S, S, 3]` in light, whether pasted, and the pictures' ends."""

    scene: Scene
    focus: jax.Array
    truth: jax.Array
    is_pasted: jax.Array
    frame: tuple[jax.Array, jax.Array]


_stage = functools.partial(jax.jit, static_argnames="ranges")


@functools.partial(jax.jit, static_argnames=("samples", "shots", "size", "ranges"))
def _draw_sample(key, atlas, samples: int, shots: int, size: int, ranges: Ranges) -> _Sample:
    keys = iter(jax.random.split(key, 5))
    is_pasted = chance(next(keys), ranges.pasted_share, (samples,))
    encoded = is_pasted | chance(next(keys), ranges.encoded_share, (samples,))
    scene = draw_scenes(next(keys), atlas, size, encoded, ranges)
    truth = composite(scene.back, scene.covers[..., None] * scene.fronts, scene.covers)
    return _Sample(scene, draw_focus(next(keys), scene, shots, ranges), truth, is_pasted,
                   coverage.draw_frames(next(keys), samples, size, MARGIN_PX, ranges))


@_stage
def _through_lens(key, taken: _Sample, ranges: Ranges) -> lens.Seen:
    blur, paste = jax.random.split(key)
    seen = lens.through_lens(blur, taken.scene, taken.focus, ranges)
    if not ranges.pasted_share:
        return seen
    inside = coverage.inside_frames(*taken.frame, taken.truth.shape[1])
    pasted = lens.pasted(paste, seen, taken.truth, inside, ranges)
    return jax.tree.map(lambda a, b: jnp.where(trailing(taken.is_pasted, a.ndim - 1), a, b), pasted, seen)


@_stage
def _record(key, seen: lens.Seen, taken: _Sample, ranges: Ranges) -> tuple[jax.Array, ...]:
    """Pictures, where they clip, their target, and the error of each before noise."""
    clip, expose = jax.random.split(key)
    encoded = taken.scene.encoded
    light, clipped = camera.clip(clip, seen.light, encoded, ranges)
    encode = lambda light: jnp.where(trailing(encoded, light.ndim - 1), jnp.clip(light, 0, 1),
                                     linear_to_srgb(jnp.clip(light, 0, 1), jnp))
    clean, sharp = encode(light), encode(taken.truth)
    best = jnp.argmin(seen.radius, 1)[:, None, ..., None]
    least = seen.radius.min(1)[..., None]
    # No choice can be sharper than the least blurred shot; its smoothness is what to learn there.
    blurred = jnp.clip((least - _SHARP_PX) / (_BLURRED_PX - _SHARP_PX), 0, 1)
    target = sharp + blurred * (jnp.take_along_axis(clean, best, 1)[:, 0] - sharp)
    error = box_filter(jnp.abs(clean - target[:, None]).mean(-1), _ERROR_WINDOW_PX)
    return camera.expose(expose, light, encoded, ranges), clipped, target, error


@_stage
def _add_noise(key, pixels, target, ranges: Ranges) -> tuple[jax.Array, jax.Array]:
    noise, sharpening = jax.random.split(key)
    pixels = camera.add_noise(noise, pixels, ranges)
    amount = camera.draw_sharpening(sharpening, len(target), ranges)
    return camera.sharpen(pixels, amount), camera.sharpen(target, amount)


@_stage
def _compress_and_move(key, pixels, target, radius, ranges: Ranges) -> tuple[jax.Array, jax.Array]:
    compression, misfit = jax.random.split(key)
    pixels = camera.compress(compression, pixels, ranges)
    if not ranges.shift_share:
        return pixels, target
    misfit = registration.draw_misfit(misfit, *pixels.shape[:2], ranges)
    # The truth lies where the sharpest shot has it: no weights can move a shot back.
    best = jnp.argmin(radius, 1)[:, None, ..., None]
    moved = registration.move(target[:, None], misfit)
    return registration.move(pixels, misfit), jnp.take_along_axis(moved, best, 1)[:, 0]


@_stage
def _cover(key, pixels, clipped, target, error, taken: _Sample, ranges: Ranges) -> Batch:
    """Pictures that end, shots that cover a part; and the patch in the middle."""
    if ranges.frame_share:
        continued = lambda x: coverage.mirrored(x, *taken.frame)
        pixels, clipped, error = map(continued, (pixels, clipped, error))
        target = continued(target[:, None])[:, 0]
    valid = coverage.draw_coverage(jax.random.fold_in(key, 1), *pixels.shape[:3], ranges)
    inside = slice(MARGIN_PX, pixels.shape[2] - MARGIN_PX)
    pixels, valid, clipped, error = (x[:, :, inside, inside] for x in (pixels, valid, clipped, error))
    return Batch(jnp.clip(jnp.where(valid[..., None], pixels, 0), 0, 1), valid,
                 (clipped & valid).astype(jnp.float32), jnp.clip(target[:, inside, inside], 0, 1),
                 jnp.where(valid, error, jnp.inf))

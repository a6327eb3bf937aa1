"""ZMFF: three untrained networks are fitted to one pair of pictures; their outputs are the fused picture and two masks.

Hu, Jiang, Liu, Ma 2023, DOI 10.1016/j.inffus.2022.11.014.  Nothing is trained beforehand: 1,300 steps of Adam for every
pair, minutes on a GPU and hours on a CPU.  Start values and noise are random (seeded), so two programs agree in
statistics, not by pixel.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from edmf_jax.core.ssim import ssim
from edmf_jax.methods.base import MethodInfo, check_images
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.luma_fusion import FULL_RANGE, luma_levels, recolor
from edmf_jax.methods.memory import check_memory
from edmf_jax.methods.planes import levels_truncated
from edmf_jax.methods.skip_network import init_skip_network, skip_network, smallest_side_px

FUSED_LEVELS, MASK_LEVELS = 5, 3
STEPS, FIRST_PHASE_STEPS = 1300, 600
STEPS_PER_REPORT = 10
LEARNING_RATE, HALVED_AT_STEPS = 0.01, (201, 401, 801)
MASK_INPUT_HEIGHT, NOISE = 0.1, 0.001
PRIOR_WEIGHT = 20
SEED = 17
# A 3×3 blur, applied twice before sharpness is taken.
_BLUR = np.array([[0.0947, 0.1183, 0.0947], [0.1183, 0.1478, 0.1183], [0.0947, 0.1183, 0.0947]])

INFO = MethodInfo(
    name="zmff", title="ZMFF", paper="Hu, Jiang, Liu, Ma, Information Fusion 92", year=2023,
    doi="10.1016/j.inffus.2022.11.014",
    verified="the authors' program: score maps of Lytro 1 equal; forward pass, both losses and gradients of narrow "
             "networks within float32 rounding; whole runs only in statistics",
    in_all=False)

Progress = Callable[[int, int], None]


def load(weights: None = None, *, as_published: bool = False, steps: int = STEPS, progress: Progress | None = None
         ) -> "Zmff":
    """The method, ready to fuse; it has no weights.

    Args:
      weights: None.
      as_published: 8-bit YCrCb of OpenCV, chroma of the first picture only, levels cut off to integers, as in the
        authors' script.  Otherwise luminance is not rounded, chroma is merged from both, and levels are rounded.
      steps: of the optimization; the authors' 1,300.
      progress: called with the steps done and `steps`, every 10 steps; None: a bar, if the program runs in a terminal.
    """
    return Zmff(as_published, steps, progress)


@dataclasses.dataclass(frozen=True)
class Zmff:
    """A `methods.base.Fuser` of two pictures of at least 33×33 px."""

    as_published: bool = False
    steps: int = STEPS
    progress: Progress | None = None

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        return self._color(self._outputs(images)[0], images)

    def decision_map(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The mask of the first picture: float32 `[H, W]`; the optimization runs anew for it."""
        return self._outputs(images)[1]

    def _outputs(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        check_images(images, INFO.name, smallest_px=smallest_side_px(FUSED_LEVELS))
        luma = np.stack([_published_luma(x) if self.as_published else luma_levels(x, FULL_RANGE) for x in images])
        with tqdm(total=self.steps, desc=INFO.name, unit="step", leave=False,
                  disable=True if self.progress else None) as bar:  # None: only in a terminal
            progress = self.progress or (lambda done, steps: bar.update(done - bar.n))
            return optimize((luma / 255).astype(np.float32), self.steps, progress)[0]

    def _color(self, luma: np.ndarray, images: Sequence[np.ndarray]) -> np.ndarray:
        levels = 255 * luma.astype(np.float64)
        if not self.as_published:
            return to_levels(recolor(levels, *images, FULL_RANGE))
        if images[0].ndim == 2:
            return levels_truncated(levels)
        planes = cv2.cvtColor(images[0], cv2.COLOR_RGB2YCrCb)
        planes[..., 0] = levels_truncated(levels)
        return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


def _published_luma(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 0]


def score_maps(luma: np.ndarray) -> np.ndarray:
    """1 where a picture differs more from its blur than the other, or as much; else 0: float32, `[2, H, W]` like Y."""
    blurred = luma.astype(np.float32)
    for _ in range(2):
        blurred = np.stack([cv2.filter2D(x, cv2.CV_32F, _BLUR, borderType=cv2.BORDER_CONSTANT) for x in blurred])
    sharpness = np.abs(luma - blurred)
    return (sharpness >= sharpness.max(0)).astype(np.float32)


def losses(outputs: Sequence[jax.Array], luma: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What is minimized: L1 and the prior of the masks in the first phase, structural similarity in the second.

    Args:
      outputs: fused picture and both masks, `[H, W]` each.
      luma: Y of both sources in [0, 1], `[2, H, W]`.
      scores: their score maps.

    Returns:
      L1 of the fused picture to the masked sum of the sources, the prior, and 1 − SSIM to that sum.
    """
    fused, *masks = outputs
    target = luma[0] * masks[0] + luma[1] * masks[1]
    prior = sum(jnp.mean(jnp.abs(mask - score)) for mask, score in zip(masks, scores)) / 2
    prior = prior + jnp.mean(jnp.abs(1 - scores[0] - scores[1]))
    return jnp.mean(jnp.abs(fused - target)), prior, 1 - ssim(jnp.pad(fused, 5), jnp.pad(target, 5))


def total_loss(step: jax.Array, outputs: Sequence[jax.Array], luma: jax.Array, scores: jax.Array) -> jax.Array:
    """The loss of a step, counted from 0."""
    reconstruction, prior, dissimilarity = losses(outputs, luma, scores)
    return jnp.where(step < FIRST_PHASE_STEPS, reconstruction + PRIOR_WEIGHT * prior, dissimilarity)


def optimizer() -> optax.GradientTransformation:
    """Adam; its rate is halved three times."""
    return optax.adam(optax.piecewise_constant_schedule(LEARNING_RATE, dict.fromkeys(HALVED_AT_STEPS, 0.5)))


def networks(params: Sequence[dict], inputs: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
    """Fused picture and both masks, `[H, W]` each in (0, 1), from three inputs `[1, H, W, 2]`."""
    levels = (FUSED_LEVELS, MASK_LEVELS, MASK_LEVELS)
    return tuple(skip_network(p, x, n) for p, x, n in zip(params, inputs, levels))


def optimize(luma: np.ndarray, steps: int = STEPS, progress: Progress | None = None
             ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Fits the three networks to a pair.

    Args:
      luma: Y of both sources in [0, 1], float32 `[2, H, W]`.
      steps: of the optimization, at least 1.
      progress: called with the steps done and `steps`.

    Returns:
      Fused picture and both masks at the last step before its update, float32 `[H, W]` each; the loss of every step.

    Raises:
      UserError: the pictures are too large for the memory.
    """
    key, fused_key, mask_key, input_key = jax.random.split(jax.random.key(SEED), 4)
    # As in the authors' program, the networks of both masks start from equal weights and equal noise.
    params = (init_skip_network(fused_key, FUSED_LEVELS), *(init_skip_network(mask_key, MASK_LEVELS) for _ in range(2)))
    noise = jax.random.uniform(input_key, (1, *luma.shape[1:], 2), maxval=MASK_INPUT_HEIGHT)
    data = (jnp.moveaxis(jnp.asarray(luma), 0, -1)[None], noise, noise), jnp.asarray(luma), score_maps(luma)
    state = params, jax.jit(optimizer().init)(params)
    curve = []
    with jax.default_matmul_precision("highest"):
        take_step = _take_step.lower(state, data, key, 0).compile()
        check_memory(take_step, f"{INFO.name} on pictures of {luma.shape[2]}×{luma.shape[1]} px")
        for step in range(steps):
            state, outputs, loss = take_step(state, data, key, step)
            curve.append(loss)
            if progress and ((step + 1) % STEPS_PER_REPORT == 0 or step + 1 == steps):
                jax.block_until_ready(loss)
                progress(step + 1, steps)
    return tuple(np.asarray(x) for x in outputs), np.array(curve, np.float32)


@functools.partial(jax.jit, donate_argnums=0)
def _take_step(state: tuple, data: tuple, key: jax.Array, step: jax.Array
               ) -> tuple[tuple, tuple[jax.Array, ...], jax.Array]:
    """A step, counted from 0: the new parameters and optimizer, the outputs and the loss before its update."""
    (params, adam), (inputs, luma, scores) = state, data
    noise = NOISE * jax.random.normal(jax.random.fold_in(key, step), (len(inputs), *inputs[0].shape))
    noisy = [x + n for x, n in zip(inputs, noise)]

    def loss_and_outputs(params):
        outputs = networks(params, noisy)
        return total_loss(step, outputs, luma, scores), outputs

    (loss, outputs), gradients = jax.value_and_grad(loss_and_outputs, has_aux=True)(params)
    updates, adam = optimizer().update(gradients, adam)
    return (optax.apply_updates(params, updates), adam), outputs, loss

"""The inputs of both frameworks: random pictures from a seed, with four remembered epochs."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

SEED = 20261122
LEARNING_RATE = 1e-4
REMEMBERED = 4
BATCHES = 4  # different batches, used in turn


class Shape(NamedTuple):
    """Patches per step and their side [px]."""

    batch: int
    patch_px: int

    def __str__(self):
        return f"{self.batch} × {self.patch_px}²"


def make_pair(rng: np.random.Generator, height: int, width: int, channels: int = 1) -> np.ndarray:
    """Two shots of one random scene, each blurred in the other's half: uint8 `[2, H, W]` or `[2, H, W, C]`."""
    noise = rng.random((height, width, channels), np.float32)
    scene = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX)
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    near, far = scene.copy(), blurred
    near[:, width // 2 :] = blurred[:, width // 2 :]
    far = blurred.copy()
    far[:, width // 2 :] = scene[:, width // 2 :]
    shots = np.stack([near, 0.8 * far]).reshape(2, height, width, channels)
    return np.rint(shots[..., 0] if channels == 1 else shots).astype(np.uint8)


def make_inputs(shape: Shape, seed: int = SEED) -> dict[str, np.ndarray]:
    """Arrays by name.

    levels `[N, 2, P, P]` and remembered `[N, 4, P, P]`, uint8: patches of both sources and their remembered outputs.
    order int32 `[steps, B]`: the patches of each step.  learning_rate float32.  `param/conv1/kernel` (HWIO), …: newly
    initialized parameters of the paper's network.
    """
    import jax

    from edmf_jax.core.model import init_params, make_model
    from edmf_jax.weights.params import flatten

    rng = np.random.default_rng(seed)
    count, px = BATCHES * shape.batch, shape.patch_px
    levels = np.stack([make_pair(rng, px, px) for _ in range(count)])
    mean = levels.mean(1, keepdims=True)
    remembered = np.clip(np.rint(mean + rng.normal(0, 8, (count, REMEMBERED, px, px))), 0, 255).astype(np.uint8)
    order = rng.permutation(count).astype(np.int32).reshape(BATCHES, shape.batch)
    params = jax.device_get(jax.jit(init_params, static_argnums=0)(make_model(16), jax.random.key(seed)))
    named = {f"param/{name}": np.asarray(value) for name, value in flatten(params).items()}
    return {"levels": levels, "remembered": remembered, "order": order, "learning_rate": np.float32(LEARNING_RATE),
            **named}


def save_inputs(path: Path, inputs: dict[str, np.ndarray]) -> None:
    """Writes the arrays to a file, for another process."""
    np.savez(path, **inputs)


def load_inputs(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays that `save_inputs` wrote."""
    with np.load(path) as arrays:
        return dict(arrays)

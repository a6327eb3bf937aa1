"""Shared by methods that end in levels: rounding, and a choice between two pictures."""

import numpy as np


def to_levels(image: np.ndarray) -> np.ndarray:
    """Rounds levels to integers (halves to even) and clips them to 0…255: uint8."""
    return np.rint(image).clip(0, 255).astype(np.uint8)


def choose(from_a: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A where the mask `[H, W]` is True, else B; both `[H, W]` or `[H, W, 3]`."""
    return np.where(from_a if a.ndim == 2 else from_a[..., None], a, b)

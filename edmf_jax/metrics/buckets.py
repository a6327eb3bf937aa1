"""A few shapes for all photographs: sizes rounded up to a ladder (NumPy, on the host).

Every shape costs a compile of seconds, every pixel of padding its share of the
run.  A ladder of five steps an octave, each side by itself, brings the 195 sizes
of EDMF's 500 test pairs to 10 shapes with 13 % of padding.
"""

import math

import numpy as np

from edmf_jax.metrics.frames import Frame

BASE_PX, STEPS_PER_OCTAVE, MULTIPLE_PX = 296, 5, 16


def bucket_size(size_px: int) -> int:
    """The smallest step of the ladder that holds `size_px`: 296·2^(k/5), rounded up to a multiple of 16.

    Raises:
      ValueError: the size is not positive.
    """
    if size_px < 1:
        raise ValueError(f"bucket_size: a picture has at least one pixel a side, got size_px={size_px}")
    step = math.floor(STEPS_PER_OCTAVE * math.log2(max(size_px - MULTIPLE_PX, 1) / BASE_PX))
    while _ladder(step) < size_px:
        step += 1
    return _ladder(step)


def pad_to_bucket(stack: np.ndarray) -> tuple[np.ndarray, Frame]:
    """Pictures `[pictures, H, W, ...]` with zeros at the bottom and right up to their bucket, and their true size."""
    height, width = stack.shape[1:3]
    padded = np.zeros((len(stack), bucket_size(height), bucket_size(width), *stack.shape[3:]), stack.dtype)
    padded[:, :height, :width] = stack
    return padded, Frame(height, width)


def _ladder(step: int) -> int:
    return math.ceil(BASE_PX * 2 ** (step / STEPS_PER_OCTAVE) / MULTIPLE_PX) * MULTIPLE_PX

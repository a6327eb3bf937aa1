"""Grey levels from colour pictures, as the programs do that the published numbers come from."""

import numpy as np

# MATLAB's rgb2gray, to the last digit it prints; JPEG's 0.299 0.587 0.114 differs by one level in 1e-5 of the pixels.
RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)


def rgb_to_gray(rgb: np.ndarray) -> np.ndarray:
    """8-bit RGB `[..., 3]` → 8-bit grey, MATLAB's `rgb2gray` rounded to nearest; a grey picture's levels stay.

    Raises:
      ValueError: not uint8, or not three channels.
    """
    if rgb.dtype != np.uint8 or rgb.shape[-1] != 3:
        raise ValueError(f"rgb_to_gray: uint8 RGB on the last axis is needed, got {rgb.dtype} {rgb.shape}")
    return np.floor(rgb.astype(np.float64) @ np.array(RGB2GRAY) + 0.5).astype(np.uint8)

"""The numbers of the evidence by which shots are chosen, for its two writings; no JAX is imported here.

`fusion.stack.evidence` is in NumPy and OpenCV, and says what each step is for; `core.measuring` is in jax.numpy, for a
GPU and (`core.hand_made`) for training.
"""

import numpy as np

CELL_PX = 8
COARSE_WEIGHT = 0.07
CHROMA_WEIGHT = 0.5
WINDOWS = ((7, 1.0), (19, 0.1))
"""Sides of boxes, px, and the weight of the mean in each.  A box applied twice is about a Gaussian, of σ = 2.8 or
7.7 px.  The far one is for defocused lamps: their rim is sharp too, and only a wide window contains the lamp itself."""
SIGMA_PX, BLUR_PX = 0.8, 7  # Gaussian blur before the Laplacian, which amplifies noise; σ and window
ENERGY_REACH_PX, WINDOWS_REACH_PX = BLUR_PX // 2 + 1, 2 * (WINDOWS[-1][0] // 2)
RIM_PX = 6
NOISE_DEVIATIONS = 2.0  # of a window's mean energy, above that of noise: less is taken for noise
NOISE_WINDOW_PX, QUIET_SHARE = 9, 0.05  # noise is told by the quietest of such windows
QUIET_FACTOR = 1.2  # which hold less noise than the mean by chance, too
RAMP_SHARE = 0.1  # of the frame's shorter side
NO_WEIGHT = -1e4  # the logarithm that stands for a weight of 0


def most_noise(window_px: int) -> np.float64:
    """The energy below which the mean in one of `WINDOWS` is taken for noise, as a multiple of that of noise."""
    independent = 0.4 * window_px**2  # pixels under the window, about: it has no hard edge, and energy is smooth
    return 1 + NOISE_DEVIATIONS * np.sqrt(2 / independent)

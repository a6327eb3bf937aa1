"""Small focus stacks with a known map between any two shots: a near thing before a far one, breathing, a hand."""

import dataclasses

import cv2
import numpy as np

from tests.helpers.scenes import scene

SIZE = (200, 260)
_PAD_PX = 40  # the scene continues this far beyond the frame
_BLUR_PX = 2.5  # standard deviation of what is farthest from focus


@dataclasses.dataclass(frozen=True)
class FocusStack:
    """Shots, uint8 `[H, W, 3]`, and for each the map from px of the scene to its px, 3×3."""

    images: list[np.ndarray]
    maps: list[np.ndarray]

    def truth(self, first: int, second: int) -> np.ndarray:
        """The map from px of one shot to px of another, 3×3."""
        return self.maps[second] @ np.linalg.inv(self.maps[first])

    def chosen(self, numbers) -> "FocusStack":
        """Some of the shots, in this order."""
        return FocusStack([self.images[i] for i in numbers], [self.maps[i] for i in numbers])

    def __add__(self, other: "FocusStack") -> "FocusStack":
        return FocusStack(self.images + other.images, self.maps + other.maps)


def camera(zoom=1.0, shift=(0.0, 0.0), degrees=0.0, size=SIZE) -> np.ndarray:
    """The map from px of the scene to px of a shot: turned and zoomed about the middle of the frame, then shifted."""
    middle = np.array([size[1] - 1, size[0] - 1]) / 2
    cosine, sine = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.vstack([np.c_[turn, middle + shift - turn @ (middle + _PAD_PX)], [0, 0, 1]])


def take(focus: float, matrix: np.ndarray, *, seed=0, noise_seed=0, size=SIZE, stops=0.0) -> FocusStack:
    """One shot of scene `seed`.

    Args:
      focus: 0 near, 1 far.
      matrix: from `camera`.
      noise_seed: of the noise, of one level in 8 bits.
      size: height and width of the shot; the scene is always that of `SIZE`.
      stops: of exposure.
    """
    height, width = (side + 2 * _PAD_PX for side in SIZE)
    y, x = np.mgrid[:height, :width]
    near = ((x / width - 0.42) / 0.24) ** 2 + ((y / height - 0.55) / 0.3) ** 2 < 1
    light = np.zeros((height, width, 3), np.float32)
    for layer, there, blur in ((scene(height, width, seed=seed), np.ones_like(near), _BLUR_PX * (1 - focus)),
                               (scene(height, width, seed=seed + 1000), near, _BLUR_PX * focus)):
        soft = lambda plane, blur=blur: plane if blur < 0.1 else cv2.GaussianBlur(plane, (0, 0), blur)
        cover = soft(np.float32(there))[..., None]
        light = light * (1 - cover) + soft(np.float32(layer) ** 2.2 * there[..., None])
    shot = cv2.warpPerspective(light, matrix, size[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    shot = np.clip(shot * 2**stops, 0, 1) ** (1 / 2.2) * 255
    shot += np.random.default_rng((seed, noise_seed)).normal(0, 1, shot.shape)
    return FocusStack([np.uint8(np.clip(np.rint(shot), 0, 255))], [matrix])


def focus_stack(count: int, *, seed=0, breathing=0.02, shift_px=3.0) -> FocusStack:
    """Shots from near to far of scene `seed`, zoomed by up to `breathing`, moved by up to `shift_px` and 0.5°."""
    rng = np.random.default_rng(seed)
    found = FocusStack([], [])
    for number, focus in enumerate(np.linspace(0, 1, count)):
        matrix = camera(1 + breathing * focus, rng.uniform(-shift_px, shift_px, 2), rng.uniform(-0.5, 0.5))
        found += take(focus, matrix, seed=seed, noise_seed=number, stops=rng.uniform(-0.2, 0.2))
    return found

"""A level surface that recedes from the camera, as thin slices, each at one distance.

In a picture of a plane, the vergence 1/distance is affine in the row, and blur radius is linear in
vergence, so slices of equal height differ by equal steps of blur. Each slice continues below the
next, nearer one, which is drawn over it. So the surface has no cracks, and the foot of an object
that stands on it is covered only by ground in front of it.
"""

import cv2
import numpy as np

from tfds_edmf.edmf_synthetic.lens import Layer

# Samples per pixel across and down. The far rows of a surface are compressed, more so downwards.
ACROSS, DOWN = 2, 4


def in_perspective(
    texture: np.ndarray,
    shape: tuple[int, int],
    vergence_at_top: float,
    vergence_per_row: float,
    focal_px: float,
) -> np.ndarray:
    """The picture of a level surface, float32 [H, W, 3], with one texel per pixel in the bottom row.

    Args:
        texture: float32 [h, w, 3], mirrored beyond its edges.
        shape: height and width of the picture, px.
        vergence_at_top: 1/distance at row 0, 1/mm.
        vergence_per_row: its increase per row, > 0.
        focal_px: the camera's focal length in pixels, which sets how steeply it looks down.
    """
    height, width = shape
    nearest = vergence_at_top + vergence_per_row * height
    # A point at distance d and column x shows texel u = (x − center) · nearest · d across
    # and v = focal · nearest · d along; homogeneous in d = 1 / vergence(row).
    plane = np.array(
        [
            [nearest, 0.5 * texture.shape[1] * vergence_per_row, 0.0],
            [0.0, 0.0, focal_px * nearest],
            [0.0, vergence_per_row, vergence_at_top],
        ]
    )
    plane[0, 2] = 0.5 * texture.shape[1] * vergence_at_top - nearest * width / 2
    # Start at the texture's first row by subtracting v at the bottom row, which is focal.
    plane[1] -= focal_px * plane[2]
    samples = np.diag([1 / ACROSS, 1 / DOWN, 1.0])
    fine = cv2.warpPerspective(
        texture,
        plane @ samples,
        (ACROSS * width, DOWN * height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)


def slices(picture: np.ndarray, top: int, distance_mm: np.ndarray, rows: int, pad: int):
    """The surface from row `top` to the bottom of the canvas, as layers from back to front.

    Args:
        picture: float32 [H, W, 3], linear light on the whole canvas.
        top: row of the surface's far edge.
        distance_mm: distance at every row, [H].
        rows: rows per slice, >= 1.
        pad: rows by which a slice continues under the next one; at least the sum of two blur
            radii, so that the next one hides its end.
    """
    height = picture.shape[0]
    layers = []
    for start in range(top, height, rows):
        strip = picture[start : start + rows + pad]
        middle = min(start + rows // 2, height - 1)
        alpha = np.ones(strip.shape[:2], np.float32)
        layers.append(Layer(strip, alpha, start, 0, float(distance_mm[middle])))
    return layers

"""How much sharp detail each shot shows around every pixel: what the choice among shots is made by (`choice`).

    evidence = fine + 0.07 · coarse
    fine     = near + 0.1 · far: means of the energy over a window of about 11 px and one of about 31 px
    energy   = squared Laplacian of the slightly blurred luma, plus half of the same of Cb and Cr
    coarse   = `fine` of the picture reduced 8 times

Color counts because detail may be in color alone.  The coarse part is for what is out of focus or plain in all shots:
there only the outlines around it tell which shot is the sharp one, and a blurred outline of 60 px is wider than any
fine window.  From every mean is subtracted what noise alone would give, so that a grainy shot does not count as sharp.

Only a shot's own pixels count, without the outermost 6 px of them: what lies beyond has bled into these when the shot
was blurred, warped or compressed, and such a rim looks sharp.

NumPy and OpenCV, in float32.  `core.measuring` is the twin in jax.numpy, for a GPU and for training.
"""

import dataclasses

import cv2
import numpy as np

from edmf_jax.core import evidence_numbers as numbers
from edmf_jax.core.chooser_layout import FLOOR, POWER, WHOLE_CELL
from edmf_jax.core.color import NEUTRAL, rgb_to_ycbcr
from edmf_jax.core.evidence_numbers import CELL_PX
from edmf_jax.fusion.stack import borders, holes
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.tiles import BlendTile, Part, cells_of, grown, inside, over_tiles

_FINE_REACH_PX = numbers.RIM_PX + numbers.ENERGY_REACH_PX + numbers.WINDOWS_REACH_PX
REACH_PX = borders.REACH_PX + _FINE_REACH_PX
"""A pixel can change the fine evidence of pixels up to this far away."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """How sharp one shot is.

    Attributes:
      fine: root of the fine evidence, float16 `[H, W]`.
      coarse: the coarse evidence of cells of 8 × 8 px, float32 `[⌈H/8⌉, ⌈W/8⌉]`.
      weight: 255 times the blend weight, uint8 `[H, W]`: 0 where the shot has nothing, feathered toward that edge;
        None: 255 everywhere.  Clipping does not lower it: at the edge of what is clipped, a shot that is blurred there
        would win from one that shows the edge.  Where all is clipped there is no detail, so others win anyway.
      ramp: of cells, in [0, 1]: how far away the shot's edge within the frame is, as a share of a tenth of the frame;
        None: it has none.
      noise: the energy that noise alone has at the target exposure.
    """

    fine: np.ndarray
    coarse: np.ndarray
    weight: np.ndarray | None
    ramp: np.ndarray | None
    noise: float = 0.0

    def logit(self, part: Part) -> np.ndarray:
        """log(weight · strength^`POWER`) of rows and columns `part`, float32 `[h, w]`; of weight 0 far below all."""
        strength2 = np.square(self.fine[part].astype(np.float32))
        strength2 += np.float32(numbers.COARSE_WEIGHT) * enlarged(self.coarse, part, CELL_PX) + np.float32(FLOOR**2)
        logit = np.float32(POWER / 2) * np.log(strength2)
        if self.weight is not None:
            weight = self.blend_weight(part)
            logit += np.where(weight > 0, np.log(np.maximum(weight, np.float32(1e-9))), np.float32(numbers.NO_WEIGHT))
        return logit

    def ramp_weight(self, part: Part, certainty: np.ndarray) -> np.ndarray | np.float32:
        """A factor in [0, 1] for the weight where the choice is not certain, `[h, w]`, or 1 if it is that everywhere.

        Where all shots are plain, one that ends would leave a line, so its weight falls long before.
        """
        return np.float32(1) if self.ramp is None else 1 - (1 - certainty) * (1 - enlarged(self.ramp, part, CELL_PX))

    def blend_weight(self, part: Part) -> np.ndarray | np.float32:
        """The blend weight in [0, 1], `[h, w]`, or 1 if it is that everywhere."""
        return np.float32(1) if self.weight is None else self.weight[part] * np.float32(1 / 255)

    @property
    def nbytes(self) -> int:
        """What it takes, bytes."""
        return sum(0 if x is None else x.nbytes for x in (self.fine, self.coarse, self.weight, self.ramp))


def measure(shot: AlignedShot, noise: float) -> Evidence:
    """The evidence of a shot; `noise` is its `noise_energy`, at its own exposure."""
    noise *= shot.leveling.slope**2
    height, width = shot.image.shape[:2]
    cell_shape = -(-height // CELL_PX), -(-width // CELL_PX)
    fine = np.empty((height, width), np.float16)
    weights = None if shot.is_whole else np.empty((height, width), np.uint8)
    cells = np.empty((*cell_shape, shot.image.shape[2]), np.float32)
    covered = np.empty(cell_shape, bool)

    def look(tile: BlendTile) -> None:
        # Where the shot has all pixels around, a tile needs less around it.
        if shot.is_whole_in(tile.context):
            tile = tile._replace(context=grown(tile.kept, _FINE_REACH_PX, fine.shape))
        seen = shot.tile(*tile.context)
        planes, own = _planes(seen.pixels), seen.weight > 0
        kept = inside(tile.kept, tile.context)
        fine[tile.kept] = np.sqrt(_windowed(planes, _without_rim(own, tile.context, shot.image.shape), noise)[kept])
        if weights is not None:  # rounded up: the weight of a pixel that the shot has does not become 0
            weights[tile.kept] = np.ceil(255 * seen.weight[kept])
        there = cells_of(tile.kept, CELL_PX)
        cells[there] = cell_means(planes[kept], CELL_PX).reshape(*cells[there].shape)
        covered[there] = cell_means(own[kept].astype(np.float32), CELL_PX) > WHOLE_CELL

    over_tiles(look, shot.image.shape, REACH_PX)
    usable = np.zeros_like(covered)  # without the frame's outermost cells, for they hold the rim
    usable[1:-1, 1:-1] = covered[1:-1, 1:-1]
    if usable.any():
        cells = holes.fill(cells, usable)
    return Evidence(fine, _windowed(cells, usable, noise / CELL_PX**2), weights, _ramp(covered), noise)


def noise_energy(image: np.ndarray, full: float, mask: np.ndarray | None = None) -> float:
    """The energy of a shot's noise: the mean energy in the quietest twentieth of the picture.

    Args:
      image: `[H, W, C]`, as the camera wrote it; not warped, which would smooth the noise.
      full: the value of white.
      mask: bool `[H, W]`, where the shot has pixels; None: everywhere.
    """
    tops, lefts = (np.linspace(0, max(side - _SAMPLE_PX, 0), min(_SAMPLES_A_SIDE, -(-side // _SAMPLE_PX))).astype(int)
                   for side in image.shape[:2])
    means = []
    for top in tops:
        for left in lefts:
            if mask is not None and not mask[top : top + _SAMPLE_PX, left : left + _SAMPLE_PX].all():
                continue
            sample = image[top : top + _SAMPLE_PX, left : left + _SAMPLE_PX].astype(np.float32) / np.float32(full)
            mean = cv2.blur(_energy(_planes(sample)), (numbers.NOISE_WINDOW_PX,) * 2, borderType=cv2.BORDER_REFLECT_101)
            rim = min(numbers.RIM_PX, (min(mean.shape) - 1) // 2)
            means.append(mean[rim : mean.shape[0] - rim, rim : mean.shape[1] - rim].ravel())
    quiet = float(np.quantile(np.concatenate(means), numbers.QUIET_SHARE)) if means else 0.0
    return numbers.QUIET_FACTOR * max(quiet, 0.0)


def plausible_noise(energies: list[float]) -> list[float]:
    """The noise energies of all shots, none of them many times the least.

    Where detail is everywhere, the quietest windows of a sharp shot hold detail, and only the others' tell the noise.
    """
    return [min(energy, _MOST_NOISE_RATIO * min(energies)) for energy in energies]


_MOST_NOISE_RATIO = 8.0  # three stops of ISO
_SAMPLE_PX, _SAMPLES_A_SIDE = 48, 14


_TO_PLANES = np.float32(np.stack(rgb_to_ycbcr(np.eye(3)), 0) - [[0], [NEUTRAL], [NEUTRAL]]) * np.float32(
    [[1], [np.sqrt(numbers.CHROMA_WEIGHT)], [np.sqrt(numbers.CHROMA_WEIGHT)]])


def _planes(pixels: np.ndarray) -> np.ndarray:
    """Luma, and Cb and Cr scaled so that their squares count `CHROMA_WEIGHT`: float32 `[h, w, 3]`; gray `[h, w, 1]`.

    Clipped to [0, 1] first, so that what a result can't show does not count.
    """
    pixels = np.clip(pixels, 0, 1)
    return pixels if pixels.shape[2] == 1 else cv2.transform(pixels, _TO_PLANES)


def _energy(planes: np.ndarray) -> np.ndarray:
    window = numbers.BLUR_PX, numbers.BLUR_PX
    smooth = cv2.GaussianBlur(planes, window, numbers.SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    detail = cv2.Laplacian(smooth, cv2.CV_32F, borderType=cv2.BORDER_REFLECT_101)
    squares = cv2.multiply(detail, detail)
    return squares if squares.ndim == 2 else cv2.transform(squares, np.ones((1, squares.shape[2]), np.float32))


def _windowed(planes: np.ndarray, usable: np.ndarray, noise: float) -> np.ndarray:
    """The evidence of planes `[h, w, C]`, of their `usable` pixels (bool `[h, w]`) alone: `[h, w]`."""
    energy, whole, found = _energy(planes), bool(usable.all()), np.zeros(usable.shape, np.float32)
    if not whole:
        usable = usable.astype(np.float32)
        energy *= usable
    for window, weight in numbers.WINDOWS:
        mean = _box_blur_twice(energy, window)
        if not whole:
            mean /= np.maximum(_box_blur_twice(usable, window), np.float32(1e-3))
        found += np.float32(weight) * np.maximum(mean - np.float32(noise * numbers.most_noise(window)), 0)
    return found


def _box_blur_twice(plane: np.ndarray, window: int) -> np.ndarray:
    for _ in range(2):
        plane = cv2.blur(plane, (window, window), borderType=cv2.BORDER_REFLECT_101)
    return plane


def _without_rim(own: np.ndarray, context: Part, shape: tuple[int, ...]) -> np.ndarray:
    """`own` without its outermost `RIM_PX`; the frame's edge ends it, a tile's does not: bool `[h, w]`."""
    ends = [(int(part.start == 0), int(part.stop == side)) for part, side in zip(context, shape)]
    if own.all() and not np.any(ends):
        return own
    padded = np.pad(own.astype(np.uint8), ends)
    eroded = cv2.erode(padded, np.ones((2 * numbers.RIM_PX + 1,) * 2))
    return eroded[ends[0][0] : eroded.shape[0] - ends[0][1], ends[1][0] : eroded.shape[1] - ends[1][1]] > 0


def _ramp(covered: np.ndarray) -> np.ndarray | None:
    """`Evidence.ramp`, from the cells that the shot covers, bool `[h, w]`."""
    if covered.all():
        return None
    padded = np.pad(covered, 1, mode="edge").astype(np.uint8)  # the frame's edge is not the shot's
    cells = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    width = max(numbers.RAMP_SHARE * min(covered.shape), 2)
    return np.clip((cells - 1) / np.float32(width), 0, 1).astype(np.float32)


def cell_means(plane: np.ndarray, cell_px: int) -> np.ndarray:
    """Means over cells of `cell_px` × `cell_px` px of `[h, w(, C)]`, the last ones filled up by repeating pixels."""
    height, width = plane.shape[:2]
    down, right = -height % cell_px, -width % cell_px
    if down or right:
        plane = cv2.copyMakeBorder(plane, 0, down, 0, right, cv2.BORDER_REPLICATE)
    size = plane.shape[1] // cell_px, plane.shape[0] // cell_px
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def enlarged(cells: np.ndarray, part: Part, cell_px: int) -> np.ndarray:
    """The part of cells `[h, w]` of `cell_px` × `cell_px` px, interpolated linearly: float32.

    The starts of `part` are multiples of `cell_px`.  The result is that of the whole picture's cells.
    """
    rows, columns = (slice(max(p.start // cell_px - 1, 0), min(-(-p.stop // cell_px) + 1, side))
                     for p, side in zip(part, cells.shape))
    some = cells[rows, columns].astype(np.float32, copy=False)
    large = cv2.resize(some, None, fx=cell_px, fy=cell_px, interpolation=cv2.INTER_LINEAR)
    top, left = part[0].start - rows.start * cell_px, part[1].start - columns.start * cell_px
    return large[top : top + part[0].stop - part[0].start, left : left + part[1].stop - part[1].start]

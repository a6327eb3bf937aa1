"""What there is to see of a fusion: the shots in the reference's frame, the result, and where it comes from.

A shot is read again, one at a time, and only what the page shows of it is warped: a small copy
and cut-outs of a few hundred pixels a side.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.copies import LEVELS, Level, Views, make_views, reduced_size, shrink, to_8_bits
from edmf_jax.maps import shot_colours
from edmf_jax.photo import alignment, sharpness, shots
from edmf_jax.photo.options import PhotoOptions, PhotoResult
from edmf_jax.registration import Registration, warp
from edmf_jax.report_crops import Crop, detail_of, even_area, focus_edge, place_crops
from edmf_jax.weights import Weights

FUSION_LEVELS = (Level(2048, 448, 92), Level(1400, 320, 92), *LEVELS)
"""Few pictures may be larger than those of an evaluation's many."""
AS_CAME_PX = 640
_KEPT_PIXELS = 40e6  # of all copies together, at 3 bytes each
_CHOOSING_PIXELS = 2e6  # cut-outs are chosen on copies of this size
_LEAST_CROP_PX = 96
_STRIP_PX = 512


@dataclasses.dataclass(frozen=True)
class Fusion:
    """A fusion that was made.

    Attributes:
      names: the shots' paths, the reference first.
      output: the path of the result.
      weights: the network's; None where none was asked.
      options: None with preset "paper".
      image: the result, `[H, W]` or `[H, W, 3]`, uint8 or uint16.
      result: how it came about; None with preset "paper".
      seconds: how long it took.
    """

    names: Sequence[str]
    output: str
    weights: Weights | None
    options: PhotoOptions | None
    image: np.ndarray
    result: PhotoResult | None
    seconds: float

    @property
    def sources(self) -> np.ndarray | None:
        """`PhotoResult.sources`."""
        return self.result and self.result.sources

    @property
    def registrations(self) -> Sequence[Registration | None]:
        """Per shot, None where it was not registered."""
        return self.result.registrations if self.result else [None] * len(self.names)

    @property
    def stops(self) -> Sequence[float] | None:
        """Per shot, relative to the reference; None: not measured."""
        return self.result and self.result.stops

    @property
    def frame(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the result within the reference, px."""
        return self.result.frame if self.result else (0, 0, *self.image.shape[:2])


class FusionPictures(NamedTuple):
    """A fusion's pictures, small enough to be kept while a level is looked for.

    Attributes:
      first: the largest level that they are good for.
      crops: where the cut-outs are.
      layers: "result", "map", "mask" (white where the first of two shots is the sharper one), "s0", "s1", … → views.
      as_came: each shot in its own frame, uint8, at most `AS_CAME_PX` a side.
      sizes: and its own width and height, px.
    """

    first: int
    crops: tuple[Crop, ...]
    layers: dict[str, Views]
    as_came: tuple[np.ndarray, ...]
    sizes: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Placed:
    """A shot, and where the result's frame lies in it.

    Attributes:
      image: as it came, uint8 `[h, w]` or `[h, w, 3]`.
      matrix: (x, y, 1) in the result → the shot, px.
      shape: height and width of the result.
    """

    image: np.ndarray
    matrix: np.ndarray
    shape: tuple[int, int]

    def part(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """A window of the result's frame in full resolution; black where the shot has nothing."""
        return warp(self.image, self.matrix @ np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]]), (height, width))[0]

    def copy(self, side: int) -> np.ndarray:
        """The result's frame with a longer side of `side` px at most, warped at twice that size."""
        factor = min(1.0, 2 * side / max(self.shape))
        small = shrink(self.image, max(1, round(factor * max(self.image.shape[:2]))))
        shape = tuple(max(1, round(factor * length)) for length in self.shape)
        matrix = (alignment.to_copy(self.image.shape, small.shape) @ self.matrix
                  @ np.linalg.inv(alignment.to_copy(self.shape, shape)))
        warped = warp(small, matrix, shape)[0]
        return cv2.resize(warped, reduced_size(self.shape, side), interpolation=cv2.INTER_AREA)


def collect(fusion: Fusion, given: Sequence[shots.Shot], report: Callable[[str, float], None] = lambda *_: None
            ) -> FusionPictures:
    """The pictures; `given` are the shots again, three of which at most are in memory at a time.

    Raises:
      UserError: a shot is no longer what it was.
    """
    every = _look(fusion, given, report)
    begin = [next(every), next(every)]
    mask = focus_mask(*begin) if len(given) == 2 else None
    result = to_8_bits(fusion.image)
    first = _first_level(len(given) + 3, result.shape)
    whole_px, crop_px = FUSION_LEVELS[first][:2]
    numbers = mask if fusion.sources is None else fusion.sources
    crops = _choose(begin[0], result, numbers, min(crop_px, max(_LEAST_CROP_PX, min(result.shape[:2]) // 3)))
    layers = {"result": make_views(result, crops, whole_px)}
    if fusion.sources is not None:
        small = make_views(fusion.sources, crops, whole_px, "labels")
        colours = shot_colours(len(given))
        layers["map"] = Views(colours[small.whole], tuple(colours[cut] for cut in small.crops), "labels")
    if mask is not None:
        layers["mask"] = make_views(mask, crops, whole_px, "mask")
    as_came, sizes = [], []
    for number, shot in enumerate(itertools.chain(begin, every)):
        layers[f"s{number}"] = Views(shot.copy(whole_px), tuple(shot.part(*crop[1:]) for crop in crops))
        as_came.append(shrink(shot.image, AS_CAME_PX))
        sizes.append(shot.image.shape[1::-1])
    return FusionPictures(first, crops, layers, tuple(as_came), tuple(sizes))


def _look(fusion: Fusion, given: Sequence[shots.Shot], report: Callable[[str, float], None]) -> Iterator[Placed]:
    """Each shot at its own exposure, one after the other."""
    top, left, *shape = fusion.frame
    cut = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    reference = None
    for number, (shot, name, found) in enumerate(zip(given, fusion.names, fusion.registrations)):
        report(f"showing {name}", number / len(given))
        image = shots.read(shot, name)
        reference = reference or image.shape
        shots.check_like(image, name, reference, fusion.names[0], found is None)
        yield Placed(to_8_bits(shots.flat(image)), cut if found is None else found.matrix @ cut, tuple(shape))


def focus_mask(a: Placed, b: Placed) -> np.ndarray:
    """The paper's mask (`focus.focus_masks`) of two shots as they are: uint8 `[H, W]`, 255 where `a` is the sharper.

    In strips, with what is about them: equal to the whole.
    """
    reach, (height, width) = sharpness.REACH_PX, a.shape
    mask = np.empty((height, width), np.uint8)
    for top in range(0, height, _STRIP_PX):
        bottom, above = min(top + _STRIP_PX, height), max(top - reach, 0)
        strips = (shot.part(0, above, width, min(bottom + reach, height) - above) for shot in (a, b))
        planes = (sharpness.luma_of(shots.to_unit(x if x.ndim == 3 else x[..., None])) for x in strips)
        sharp_a, sharp_b = (sharpness.local_spatial_frequency(plane) for plane in planes)
        mask[top:bottom] = 255 * (sharp_a >= sharp_b)[top - above : bottom - above]
    return mask


def _first_level(layers: int, shape: tuple[int, ...]) -> int:
    """The largest level whose copies may be kept."""
    for number, level in enumerate(FUSION_LEVELS):
        factor = min(1.0, level.whole_px / max(shape[:2]))
        if layers * (factor**2 * shape[0] * shape[1] + 3 * level.crop_px**2) <= _KEPT_PIXELS:
            return number
    return len(FUSION_LEVELS) - 1


def _choose(reference: Placed, result: np.ndarray, numbers: np.ndarray, side: int) -> tuple[Crop, ...]:
    """Where to look closely: what was gained over the reference, where shots meet, where nothing should happen."""
    height, width = result.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return ()
    factor = min(1.0, float(np.sqrt(_CHOOSING_PIXELS / (height * width))))
    copy_px = max(1, round(factor * longer))
    factor = copy_px / longer
    gray = [x if x.ndim == 2 else cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)
            for x in (reference.copy(copy_px), shrink(result, copy_px))]
    numbers = shrink(numbers.astype(np.uint8), copy_px, "labels")
    wanted = [("sharper than the reference", np.maximum(detail_of(gray[1]) - detail_of(gray[0]), 0)),
              ("where shots meet", focus_edge(*gray, numbers)), ("even area", even_area(*gray))]
    small = place_crops(wanted, gray[0].shape, max(1, round(side * factor)))
    window = min(side, width), min(side, height)
    return tuple(Crop(crop.label, min(round(crop.x / factor), width - window[0]),
                      min(round(crop.y / factor), height - window[1]), *window) for crop in small)

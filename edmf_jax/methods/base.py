"""What every fusion method offers, so that `edmf evaluate --method NAME` can run it.

A method's module exports

    INFO: MethodInfo
    load(weights=None, *, as_published=False) -> Fuser
    read_weights(path) -> dict[str, np.ndarray]     only if the method has weights

`read_weights` turns the authors' file into the arrays of `INFO.tensors`, through a reader of `edmf_jax.weights`:
`torch_file.read_torch`, `matlab_file.read_matlab` or `tensorflow_checkpoint.read_checkpoint`; each returns a table
of arrays under the authors' names.  `load` without weights means those that the user imported
(`imported.weights_of(INFO, weights)`).

By default every method sees colors and saves its result in one way, so that the scores compare methods and not their
scripts: luma, and the gray that decides, are Y of full-range BT.601; chroma is merged by its distance from neutral
where only luma is fused; levels are clipped and rounded to the nearest.  (The classical methods decide on MATLAB's
rgb2gray, which has these weights to three digits.)  With `as_published` a method colors, rounds and stretches as its
authors' script does; it never compresses to JPEG, which `edmf evaluate --store jpeg75` does.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.methods.levels import choose


@dataclasses.dataclass(frozen=True)
class MethodInfo:
    """What `edmf methods` says of a method.

    Attributes:
      name: its name on the command line.
      title: its name in tables and prose.
      paper: authors, journal and volume.
      year: of the paper.
      doi: without `https://doi.org/`; "" if there is none.
      verified: one line: what was compared with what, and how equal they were.
      license: of the weights, as their authors state it; "" if it needs none.
      source: where a user gets the authors' file; "" if it needs none.
      tensors: our plain array name → shape, of all weights; empty if it needs none.
      is_local: a pixel of the result depends on no input farther away than `reach_px`, so the method may be tiled.
      reach_px: how far an input pixel can act; 0 if not `is_local`.
      in_all: whether `--method all` runs it; False for one that takes minutes a picture.  The `load` of such a method
        takes `progress`, too: a function that it calls with the steps done and all steps.
    """

    name: str
    title: str
    paper: str
    year: int
    doi: str
    verified: str
    license: str = ""
    source: str = ""
    tensors: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    is_local: bool = False
    reach_px: int = 0
    in_all: bool = True


class Fuser(Protocol):
    """A method that is ready to fuse.

    One that decides pixel by pixel also has `decision_map(images) -> np.ndarray | None`: float32 `[H, W]`, the share
    of the first picture.
    """

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Fuses pictures of one scene.

        Args:
          images: two (or more, where the method takes more) uint8 pictures of one shape, `[H, W]` or RGB `[H, W, 3]`.

        Returns:
          A uint8 picture of that shape.

        Raises:
          UserError: the number or the size of the pictures is one that the method cannot fuse.
        """


def check_images(images: Sequence[np.ndarray], name: str, *, most: int | None = 2, smallest_px: int = 1) -> None:
    """Checks what a `Fuser` is given.

    Args:
      images: uint8 pictures of one shape, `[H, W]` or `[H, W, 3]`; two or more.
      name: the method's, for the message.
      most: the largest number of pictures it takes; None: any number.
      smallest_px: the smallest side it takes.

    Raises:
      UserError: their number, type, shape or size does not fit the method.
    """
    if len(images) < 2 or (most is not None and len(images) > most):
        raise UserError(f"{name} fuses {most if most == 2 else 'two or more'} pictures, but got {len(images)}")
    shape = images[0].shape
    for image in images:
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)):
            raise UserError(f"{name} fuses uint8 pictures [H, W] or [H, W, 3], but got {image.dtype} {image.shape}; "
                            "convert it first")
        if image.shape != shape:
            raise UserError(f"{name} fuses pictures of one shape, but got {shape} and {image.shape}; crop or align "
                            "them first")
    if min(shape[:2]) < smallest_px:
        raise UserError(f"{name} needs at least {smallest_px} px on both sides, but the pictures have "
                        f"{shape[1]}×{shape[0]} px; use larger pictures or another method")


def check_tensors(weights: Mapping[str, np.ndarray], tensors: Mapping[str, tuple[int, ...]], where: str, *,
                  hint: str = "is it the file of this method?") -> None:
    """Checks that `weights` holds every array of `tensors`, of that shape and finite; other arrays are ignored.

    Args:
      weights: name → array.
      tensors: name → shape, as in `MethodInfo`.
      where: the file, for the message.
      hint: ends the message.

    Raises:
      UserError: it names the first array that is missing, has another shape or holds NaN or infinity.
    """
    for name, shape in tensors.items():
        if name not in weights:
            raise UserError(f"{where}: lacks the tensor {name!r} {shape}; {hint}")
        if tuple(weights[name].shape) != tuple(shape):
            raise UserError(f"{where}: tensor {name!r} has the shape {tuple(weights[name].shape)} instead of "
                            f"{tuple(shape)}; {hint}")
        if not np.isfinite(weights[name]).all():
            raise UserError(f"{where}: tensor {name!r} holds NaN or infinity; download the file again")


@dataclasses.dataclass(frozen=True)
class PlainFuser:
    """A `Fuser` of two pictures without weights or a decision map: a function of both, checked by `check_images`."""

    name: str
    fuse: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture; see `Fuser`."""
        check_images(images, self.name)
        return self.fuse(*images)


@dataclasses.dataclass(frozen=True)
class MaskFuser:
    """A `Fuser` of two pictures that takes every pixel from one of them.

    Attributes:
      name: the method's.
      mask: a function of both pictures: where the first one is taken, bool `[H, W]`.
    """

    name: str
    mask: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture; see `Fuser`."""
        check_images(images, self.name)
        return choose(self.mask(*images), *images)

    def decision_map(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The share of the first picture, 0 or 1: float32 `[H, W]`."""
        check_images(images, self.name)
        return self.mask(*images).astype(np.float32)

"""What a fusion writes and reads beside its result for those who go on by hand: depth, layers, edited masks."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.depth import DepthMap, depth_map
from edmf_jax.fusion.layers import EditedMasks, LayerFiles, names_of_layers
from edmf_jax.fusion.pixels import stretch, white_for
from edmf_jax.fusion.shot_files import ShotFiles
from edmf_jax.fusion.stack import PhotoOptions, PhotoResult
from edmf_jax.fusion.stack.focus_order import focus_ranks
from edmf_jax.io.atomic import check_new
from edmf_jax.io.images import check_target, write_image
from edmf_jax.io.metadata import Metadata

_Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Retouching:
    """What one fusion does of this.

    Attributes:
      given: the shots.
      save_depth: the file of the depth map; None: none is written.
      layers: the folder or TIFF of the layers; None: none are written.
      masks: instead of the automatic choice; None: there are none.
    """

    given: ShotFiles
    save_depth: Path | None
    layers: Path | None
    masks: EditedMasks | None

    @classmethod
    def checked(cls, given: ShotFiles, options: PhotoOptions | None, force: bool, others: Sequence[_Path | None], *,
                save_depth: _Path | None = None, layers: _Path | None = None, use_masks: _Path | None = None
                ) -> "Retouching":
        """Checks what is asked for before any work is done.

        Args:
          given: the shots.
          options: None with preset "paper", which has nothing of this.
          force: overwrite existing files.
          others: the other files that the fusion writes.
          save_depth: a PNG or TIFF of 16 bits to write: the depth of each pixel, white near and black far, as of
            `depth.depth_map`; its confidence goes into a second file beside it, "NAME-confidence".
          layers: a folder or a TIFF to write the aligned, leveled shots and their masks to; see `layers`.
          use_masks: a folder that `layers` wrote; its masks, edited or not, are the shots' weights.

        Raises:
          UserError: an option excludes it; a file or folder can't be written, or would be written twice; masks that do
            not fit.
          MissingFileError: a folder does not exist.
        """
        asked = {"save_depth": save_depth, "layers": layers, "use_masks": use_masks}
        for name, value in asked.items():
            option = f"--{name.replace('_', '-')} {value}"
            if value is not None and options is None:
                raise UserError(f'{option}: this is for the preset "photo"; leave it out, or leave out the preset '
                                '"paper"')
            if value is not None and name != "save_depth" and options.pixels == "network":
                raise UserError(f"{option}: a network's pixels are not a mean of the shots; leave out --pixels network")
        if layers is not None and options.crop:
            raise UserError(f"--layers {layers}: layers have the reference's whole frame; leave out --crop")
        if save_depth is not None:
            _check_depth(Path(save_depth), [*others, layers], given.read_only, force)
        if layers is not None:
            LayerFiles.check_target(layers, names_of_layers(given.file_names, given.order), given.read_only, force)
            for other in (*others, use_masks):
                _check_different(layers, other, "the layers and another file or folder of this run")
        return cls(given, save_depth and Path(save_depth), layers and Path(layers),
                   None if use_masks is None else EditedMasks(use_masks, given.file_names, given.order))

    @contextlib.contextmanager
    def hooks(self, first: np.ndarray, metadata: Metadata) -> Iterator[dict]:
        """What `fuse_photos` is called with; the layers are complete at the end.

        Args:
          first: the reference.
          metadata: of it.
        """
        self.check_frame(first.shape, self.given.names[0])
        if self.layers is None:
            yield {"weights_override": self.masks}
            return
        names = names_of_layers(self.given.file_names, self.given.order)
        with LayerFiles(self.layers, names, metadata, first.dtype) as layers:
            yield {"weights_override": self.masks, "layers": layers}

    def check_frame(self, shape: tuple[int, ...], name: str) -> None:
        """Raises UserError if the masks do not fit the frame, which another shot gives if the reference is left out."""
        if self.masks is not None:
            self.masks.check_size(shape, name)

    def depth(self, result: PhotoResult | None) -> DepthMap | None:
        """The depth map of a result; None if none is asked for."""
        if self.save_depth is None:
            return None
        ranks = focus_ranks(result.used, dict(zip(result.used, result.registrations)), self.given.order)
        image = result.image  # of 10 bits in 16, too, all contrast counts
        if image.dtype == np.uint16:
            image = stretch(image, white_for(int(image.max())))
        return depth_map(result.sources, ranks, image, result.confidence, result.covered)

    def write_depth(self, found: DepthMap | None) -> None:
        """Writes a depth map and its confidence."""
        if found is not None:
            write_image(self.save_depth, found.depth)
            write_image(_confidence_path(self.save_depth), found.confidence)


def _confidence_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-confidence{path.suffix}")


def _check_depth(path: Path, others: Sequence[_Path | None], sources: Sequence[Path], force: bool) -> None:
    """Checks the two files of a depth map."""
    for one in (path, _confidence_path(path)):
        check_target(one, np.dtype(np.uint16))
        check_new(one, sources, force)
        for other in others:
            _check_different(one, other, "the depth map and another file of this run")


def _check_different(path: _Path, other: _Path | None, what: str) -> None:
    if other is not None and os.path.realpath(path) == os.path.realpath(other):
        raise UserError(f"{path}: {what} would be one; name another")

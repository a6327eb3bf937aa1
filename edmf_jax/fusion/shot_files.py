"""The shots of one fusion as files: what the user named, with the reference moved to the front."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack.sensor_repair import dark_frame_pixels, without_dark_frame_pixels
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.io.photographs import Page, read_shot_with_mask
from edmf_jax.io.shot_list import Log, expand_shots, path_of

_MAX_LISTED = 3


@dataclasses.dataclass(frozen=True)
class ShotFiles:
    """Shots in files.

    Attributes:
      paths: of the shots, the reference first, the others as the user gave them.
      order: for each of `paths` its number, from 0, as the user gave them.
      dark: whose hot pixels are replaced in all shots; None: there is no dark frame.
    """

    paths: tuple[str | os.PathLike | Page, ...]
    order: tuple[int, ...]
    dark: "DarkFrame | None" = None

    @classmethod
    def find(cls, given: Sequence[str | os.PathLike | Page], reference: str | int | None, log: Log, *,
             dark: str | os.PathLike | None = None) -> "ShotFiles":
        """The shots that the user means; see `io.shot_list.expand_shots` and `reference_number`.

        Args:
          dark: a dark frame: a shot of the same camera and size with the cap on.  The pixels that stand out in it are
            replaced in all shots, and `log` is called with a line that counts them.

        Raises:
          UserError: such shots are not there; `dark` is not dark.  Its size is compared when a shot is read.
          MissingFileError: a shot or `dark` does not exist.
        """
        paths = expand_shots(given, log)
        order = reference_first(len(paths), reference_number(reference, paths))
        return cls(tuple(paths[number] for number in order), order, None if dark is None else DarkFrame.read(dark, log))

    @property
    def as_given(self) -> list[str | os.PathLike | Page]:
        """`paths` in the user's order."""
        return [path for _, path in sorted(zip(self.order, self.paths), key=lambda item: item[0])]

    @property
    def names(self) -> list[str]:
        """What messages call the shots."""
        return [str(path) for path in self.paths]

    @property
    def file_names(self) -> list[str]:
        """Their names without folders; pages keep their numbers."""
        return [Path(name).name for name in self.names]

    @property
    def sources(self) -> list[Path]:
        """The file of each shot."""
        return [path_of(path) for path in self.paths]

    @property
    def read_only(self) -> list[Path]:
        """The files that are read, which no result may replace: `sources` and the dark frame."""
        return self.sources if self.dark is None else [*self.sources, Path(self.dark.name)]

    @property
    def readers(self) -> list[Callable[[], Masked]]:
        """Functions that read the shots."""
        readers = [reader(path) for path in self.paths]
        return readers if self.dark is None else [functools.partial(self.dark.clean, read, str(path))
                                                  for read, path in zip(readers, self.paths)]


@dataclasses.dataclass(frozen=True)
class DarkFrame:
    """The hot pixels of a dark frame: its name, height and width, and their flat indices, int64 `[N]`."""

    name: str
    shape: tuple[int, int]
    places: np.ndarray

    @classmethod
    def read(cls, path: str | os.PathLike, log: Log) -> "DarkFrame":
        """Finds the hot pixels in a file; see `sensor_repair.dark_frame_pixels`."""
        frame = read_shot_with_mask(path)[0]
        places = dark_frame_pixels(frame, str(path))
        count = "1 hot pixel" if len(places) == 1 else f"{len(places) or 'no'} hot pixels"
        log(f"{path}: {count}{', replaced in all shots' if len(places) else ''}")
        return cls(str(path), frame.shape[:2], places)

    def clean(self, read: Callable[[], Masked], name: str) -> Masked:
        """Reads a shot without them; `name` is what messages call it."""
        return without_dark_frame_pixels(read(), self.places, self.shape, name, self.name)


def without_folders(text: str, paths: Iterable[str]) -> str:
    """A message with the names of these files without their folders, which are the user's own business."""
    for path in sorted(paths, key=len, reverse=True):  # a longer one may contain a shorter
        text = text.replace(path, Path(path).name)
    return text


def reader(path: str | os.PathLike | Page) -> Callable[[], Masked]:
    """A function that reads one shot, with its mask."""
    return lambda: Masked(*read_shot_with_mask(path))


def reference_first(count: int, reference: int) -> tuple[int, ...]:
    """The numbers 0 … `count` − 1, with `reference` moved to the front."""
    return tuple(sorted(range(count), key=lambda number: number != reference))


def reference_number(reference: str | int | None, shots: Sequence[Any]) -> int:
    """Which shot a user means by a path, a file name, or a number from 1 on; counted from 0.

    Args:
      reference: None: the first.
      shots: paths, or arrays, which have numbers only.

    Raises:
      UserError: none, or several, of the shots are meant.
    """
    if reference is None:
        return 0
    names = [str(shot) if isinstance(shot, str | os.PathLike | Page) else "" for shot in shots]
    text = str(reference)
    for key in (Path, lambda name: Path(name).name):
        found = [number for number, name in enumerate(names) if name and key(name) == key(text)]
        if len(found) > 1:
            raise UserError(f"reference {text}: {len(found)} shots have this name; give the number of one of them, for "
                            f"example {found[0] + 1}")
        if found:
            return found[0]
    if text.isdecimal() and 1 <= int(text) <= len(shots):
        return int(text) - 1
    listed = ", ".join(filter(None, names[:_MAX_LISTED])) + (", …" if len(shots) > _MAX_LISTED else "")
    raise UserError(f"reference {text}: none of the {len(shots)} shots{f' ({listed})' if listed else ''}; give a file "
                    f"name, or a number from 1 to {len(shots)}")

"""Alignments as JSON files: how the shots of a stack lie in one frame, for other exports of the same shots.

    {"format": "edmf-alignment", "version": 1, "reference": NUMBER,
     "shots": [{"name": NAME, "width": W, "height": H, "matrix": 3×3, "flow": null or {"coefficients": R×C×2},
                "neighbor": NUMBER, "method": …, "model": …, "deviation_px": …, …},
               {"name": NAME, "width": W, "height": H, "left_out": REASON, "is_copy": true or false}, …]}

Shots are in the order in which the user gave them, and are counted from 1.  `matrix` maps (x, y, 1) of the reference to
px of the shot, integers at pixel centers.  `flow`, where there is one, adds displacements: a uniform cubic B-spline
over the reference, in px of the shot, whose cells divide width and height of the reference evenly
(`registration.flow.Flow`).  Sizes are those of the files upright.  The rest of a shot is the evidence
(`registration.Registration`).  Only name, sizes and matrix are needed, so other programs can write such files.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.shot_files import ShotFiles, without_folders
from edmf_jax.fusion.stack.alignment import Alignment
from edmf_jax.fusion.stack.sketches import Refused, Sketch
from edmf_jax.io.json_text import to_json
from edmf_jax.registration import Flow, Registration, flow
from edmf_jax.registration.planes import scaling_matrix
from edmf_jax.registration.transforms import is_invertible, normalize, overlap

FORMAT, VERSION = "edmf-alignment", 1
_SAME_ASPECT = 0.01  # sizes may differ by one factor, up to this share or one pixel
_EVIDENCE = {"method": str, "model": str, "matches": int, "inliers": int, "tiles": int, "agreeing_tiles": int,
             "residual_px": float, "deviation_px": float, "overlap": float, "confident": bool, "doubts": str}
_UNKNOWN = {"method": "file", "model": "homography", "confident": True}  # in a file of another program


def alignment_json(found: Alignment, sketches: Sequence[Sketch | Refused], shots: ShotFiles) -> str:
    """The text of an alignment file; `sketches` are those of `shots`.

    A shot that can't be read is given the size of the reference.
    """
    entries, frame = [{}] * len(sketches), sketches[found.used[0]].shape
    for number, (name, one) in enumerate(zip(shots.file_names, sketches)):
        height, width = (one.shape or frame)[:2]
        entry = {"name": name, "width": width, "height": height}
        entries[shots.order[number]] = entry | (
            {"left_out": without_folders(found.left_out[number], shots.names), "is_copy": number in found.copies}
            if number in found.left_out
            else _place_record(found.registrations[number], shots.order))
    return to_json({"format": FORMAT, "version": VERSION, "reference": shots.order[found.used[0]] + 1,
                    "shots": entries})


def _place_record(one: Registration | None, order: Sequence[int]) -> dict[str, Any]:
    """What the file says about a shot that is used; nothing but the identity if it is in the reference's frame."""
    if one is None:
        return {"matrix": np.eye(3).tolist(), "flow": None}
    return {"matrix": one.matrix.tolist(), "flow": one.flow and {"coefficients": one.flow.coefficients.tolist()},
            "neighbor": None if one.neighbor is None else order[one.neighbor] + 1,
            **{name: kind(getattr(one, name)) for name, kind in _EVIDENCE.items()}}


class _Entry(NamedTuple):
    """A shot in a file.

    Attributes:
      name: of the file.
      size: height and width, px.
      left_out: why it was not used; "" if it was.
      is_copy: it was not used because it is the same picture as another shot.
      place: its registration to the file's reference, both in the saved sizes.
    """

    name: str
    size: tuple[int, int]
    left_out: str
    is_copy: bool
    place: Registration | None


def known_alignment(path: str | os.PathLike | None, shots: ShotFiles, preset: str = "photo", **options
                    ) -> "SavedAlignment | None":
    """The alignment that a user names; None if none is named.

    Args:
      path: of the file; None: the shots will be registered.
      shots: to place.
      preset: of the fusion.
      options: `PhotoOptions.align` and `model`, None where not given.

    Raises:
      UserError: an option that would not be used; as `SavedAlignment`.
      MissingFileError: there is no such file.
    """
    if path is None:
        return None
    if preset != "photo":
        raise UserError(f"{path}: the preset {preset!r} registers nothing; leave out --use-alignment, or the preset")
    for name, value in options.items():
        if value is not None:
            raise UserError(f"{path}: it says how the shots lie, and --{name} {value} is about finding out; leave out "
                            "one of them")
    return SavedAlignment(path, shots)


class SavedAlignment:
    """An alignment from a file; called with the shapes of shots it gives their `Alignment`."""

    def __init__(self, path: str | os.PathLike, shots: ShotFiles):
        """Reads a file and finds the entries of the shots.

        They are found by their names without folder and suffix; if none of these is in the file, or two shots have the
        same, by their order, if there are as many.

        Raises:
          MissingFileError: there is no such file.
          UserError: it is no alignment file, or it lacks a shot.
        """
        self._path, self._names = path, shots.file_names
        self._entries, self._reference = _read(path)
        self._chosen = self._choose(shots.order)

    def _choose(self, order: Sequence[int]) -> list[int]:
        """For each shot the number of its entry."""
        known, stems = [Path(one.name).stem for one in self._entries], [Path(name).stem for name in self._names]
        if not set(stems) & set(known) or len(set(known)) < len(known) or len(set(stems)) < len(stems):
            if len(known) != len(stems):
                raise UserError(f"{self._path}: its {len(known)} shots have other names than these {len(stems)}, and "
                                "their numbers differ, so they can't be taken in order either; register them anew")
            return list(order)
        missing = [name for name, stem in zip(self._names, stems) if stem not in known]
        if missing:
            raise UserError(f"{missing[0]}: the alignment {self._path} does not have this shot; leave it out, or "
                            "register anew")
        return [known.index(stem) for stem in stems]

    def __call__(self, shapes: Sequence[tuple[int, ...] | None]) -> Alignment:
        """The alignment of shots of these shapes, in the frame of the first of them that the file places.

        A shot whose shape is None can't be used, and is in neither list.

        Raises:
          UserError: a size has another aspect than in the file; a shot lies outside of the frame; fewer than two shots
            are left.
        """
        left_out = {number: f"as in {Path(self._path).name}: {self._entry(number).left_out}"
                    for number in range(len(shapes)) if self._entry(number).left_out}
        used = [number for number, shape in enumerate(shapes) if number not in left_out and shape is not None]
        if len(used) < 2:
            raise UserError(f"{self._path}: it places {len(used)} of these shots, and two are needed; register anew")
        for number in used:
            self._check_aspect(number, shapes[number])
        registrations = {number: self._registration(number, used[0], shapes) for number in used}
        return Alignment(tuple(used), registrations, left_out,
                         frozenset(number for number in left_out if self._entry(number).is_copy))

    def _entry(self, number: int) -> _Entry:
        return self._entries[self._chosen[number]]

    def _check_aspect(self, number: int, shape: tuple[int, ...]) -> None:
        height, width = self._entry(number).size
        if abs(shape[0] * width / height - shape[1]) > max(1, _SAME_ASPECT * shape[1]):
            raise UserError(f"{self._names[number]}: {shape[1]}×{shape[0]} px, but {width}×{height} px in "
                            f"{self._path}, another aspect; register anew")

    def _registration(self, number: int, first: int, shapes: Sequence[tuple[int, ...]]) -> Registration | None:
        """The registration of a shot to the one that is first now; None if it is in the same frame."""
        entry, start, frame, shape = self._entry(number), self._entry(first), shapes[first], shapes[number]
        matrix, bend = self._from_first(number, first)
        matrix = normalize(scaling_matrix(entry.size, shape) @ matrix
                           @ np.linalg.inv(scaling_matrix(start.size, frame)))
        if number == first or (bend is None and shape[:2] == frame[:2] and np.array_equal(matrix, np.eye(3))):
            return None
        covered, factor = overlap(matrix, frame, shape), shape[0] / entry.size[0]
        if not covered:
            raise UserError(f"{self._path}: it places {self._names[number]} outside of the frame of "
                            f"{self._names[first]}; register anew")
        neighbor = entry.place.neighbor
        return dataclasses.replace(
            entry.place, matrix=matrix, flow=bend and bend.rescaled(frame, factor), overlap=covered,
            deviation_px=factor * entry.place.deviation_px,
            residual_px=frame[0] / start.size[0] * entry.place.residual_px,
            neighbor=self._chosen.index(neighbor) if neighbor in self._chosen else None)

    def _from_first(self, number: int, first: int) -> tuple[np.ndarray, Flow | None]:
        """The map from the first shot to another, in the saved sizes.  A flow is valid only in its own frame."""
        to, start = self._entry(number).place, self._entry(first).place
        if self._chosen[first] == self._reference:
            return to.matrix, to.flow
        steps = [flow.Step(start.matrix, start.flow, inverse=True), flow.Step(to.matrix, to.flow)]
        return to.matrix @ np.linalg.inv(start.matrix), flow.compose(steps, self._entry(first).size)


def _read(path: str | os.PathLike) -> tuple[list[_Entry], int]:
    """The shots of an alignment file, checked, and the number of the reference, from 0."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file; write one with --save-alignment") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable alignment file ({' '.join(str(error).split())[:80]}); write one with "
                        "--save-alignment") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f'{path}: not an alignment file (it has no "format": "{FORMAT}"); write one with '
                        "--save-alignment")
    if record.get("version") != VERSION:
        raise UserError(f"{path}: an alignment of version {record.get('version')!r}, and this program reads {VERSION}; "
                        "write it anew with --save-alignment")
    try:
        reference = int(record["reference"]) - 1
        start = record["shots"][reference] if reference >= 0 else None
        frame = int(start["height"]), int(start["width"])
        entries = [_parse(entry, frame) for entry in record["shots"]]
        if entries[reference].left_out or not np.array_equal(entries[reference].place.matrix, np.eye(3)):
            raise ValueError("the reference is not in its own frame")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path}: a damaged alignment file ({type(error).__name__}: "
                        f"{' '.join(str(error).split())[:80]}); write it anew with --save-alignment") from error
    return entries, reference


def _parse(entry: Mapping[str, Any], frame: tuple[int, int]) -> _Entry:
    """One shot of a file whose reference is of height and width `frame`; any error of Python's if it can't be used."""
    name, size = str(entry["name"]), (int(entry["height"]), int(entry["width"]))
    if min(size) < 1:
        raise ValueError(f"the size of {name}")
    if "left_out" in entry:
        return _Entry(name, size, str(entry["left_out"]) or "left out", bool(entry.get("is_copy")), None)
    matrix = np.array(entry["matrix"], float)
    if matrix.shape != (3, 3) or not is_invertible(matrix):
        raise ValueError(f"the matrix of {name}")
    evidence = {key: kind(entry[key]) for key, kind in _EVIDENCE.items() if entry.get(key) is not None}
    neighbor = None if entry.get("neighbor") is None else int(entry["neighbor"]) - 1
    return _Entry(name, size, "", False, Registration(matrix, **_UNKNOWN | evidence, neighbor=neighbor,
                                                      flow=_parse_flow(entry.get("flow"), frame, name)))


def _parse_flow(record: Mapping[str, Any] | None, frame: tuple[int, int], name: str) -> Flow | None:
    if record is None:
        return None
    coefficients = np.array(record["coefficients"], float)
    if (coefficients.ndim != 3 or coefficients.shape[2] != 2 or min(coefficients.shape[:2]) < 4
            or not np.isfinite(coefficients).all()):
        raise ValueError(f"the flow of {name}")
    return Flow(coefficients, frame)

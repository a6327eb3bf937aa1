"""The page of a fusion (`webpage`): its tables, and the data for its script.

Whatever a user named (files, weights) is escaped for where it stands.  Of a path only the last part is shown: a page
is made to be passed on.
"""

import html
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from edmf_jax.copies import Level, shrink, webp
from edmf_jax.fusion_pictures import AS_CAME_PX, Fusion, FusionPictures
from edmf_jax.maps import shot_colours
from edmf_jax.registration import Registration
from edmf_jax.registration.transforms import project
from edmf_jax.webpage import assemble, data_elements, to_script
from edmf_jax.weights import params_sha256

SHOWN_MATCHES = 150
"""So many of a shot's are drawn; more would cover the pictures."""
_SCRIPTS = ("tools.js", "viewer.js", "matches.js", "fusion.js")
_PARTS = 10_000  # positions are whole numbers of so many parts of a side
_BAR_PX, _LEAST_BAR_STOPS = 30, 1.0  # half the bar's width, and the stops that it stands for at least
_NONE = "–"
_EXPOSURES = {"reference": "of the first shot", "average": "the middle between the shots",
              "well-exposed": "of the best-exposed shots"}
_PIXELS = {"shots": "each from where it is sharp; no network was asked", "network": "its luma, coloured by the shots"}


def render(fusion: Fusion, sizes: Sequence[tuple[int, int]], pictures: Sequence[str], made: datetime) -> str:
    """The page.

    Args:
      fusion: what was done.
      sizes: width and height of each shot, px.
      pictures: `to_script` of a `picture_record`, or nothing.
      made: when.
    """
    name = Path(fusion.output).name
    parts = {
        "generator": "edmf fuse",
        "title": html.escape(f"{name}: fused from {len(fusion.names)} shots"), "heading": html.escape(name),
        "what": f"{len(fusion.names)} shots of one scene became one picture of {_size(fusion.frame[:1:-1])}.",
        "table": _table(fusion, sizes),
        "hint": '<p class="hint">One stop more is twice the light.</p>' if fusion.stops else "",
        "settings": _settings(fusion, made), "data": to_script(_data(fusion, sizes)),
        "pictures": data_elements(pictures), "shown": str(SHOWN_MATCHES),
    }
    return assemble("fusion.html", _SCRIPTS, parts)


def picture_record(fusion: Fusion, pictures: FusionPictures, encoded: Mapping[str, Any], level: Level
                   ) -> dict[str, Any]:
    """What the viewer and the drawing of matches need: `encode_layers`' answer, and the shots as they came."""
    matches = [_matches(found, pictures.sizes[0], size) for found, size in zip(fusion.registrations, pictures.sizes)]
    side = max(120, min(AS_CAME_PX, level.whole_px // 2))
    drawn = [number for number, lines in enumerate(matches) if lines]
    as_came = {number: webp(shrink(pictures.as_came[number], side), level.quality)
               for number in ([0, *drawn] if drawn else [])}
    return {"id": Path(fusion.output).name, "why": "", "absent": {}, **encoded, "matches": matches, "asCame": as_came}


def _matches(found: Registration | None, here: tuple[int, int], there: tuple[int, int]) -> list[list[int]]:
    """Matching points that agree, evenly from all of them: x, y in the reference, x, y in the shot, in `_PARTS`."""
    if found is None or found.points is None or not len(found.points):
        return []
    count = len(found.points)
    chosen = np.unique(np.linspace(0, count - 1, min(count, SHOWN_MATCHES)).astype(int))
    ends = [(points[chosen] + 0.5) / size * _PARTS for points, size in ((found.points, here), (found.targets, there))]
    return np.rint(np.hstack(ends)).astype(int).tolist()


def _data(fusion: Fusion, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    colours = shot_colours(len(fusion.names))
    return {"parts": _PARTS,
            "shots": [{"name": Path(name).name, "colour": f"#{bytes(colour).hex()}", "size": size,
                       "evidence": _evidence(found, sizes[0])}
                      for name, colour, size, found in zip(fusion.names, colours, sizes, fusion.registrations)]}


def _evidence(found: Registration | None, here: tuple[int, int]) -> str:
    """What speaks for a registration and where the shot lies, in words."""
    if found is None:
        return ""
    middle = np.array([[here[0] / 2, here[1] / 2]]) - 0.5
    at, right = project(found.matrix, np.vstack([middle, middle + np.array([1, 0])]))
    (dx, dy), (x, y) = at - middle[0], right - at
    points = "" if found.points is None else f"{found.inliers:,} of {found.matches:,} matching points agree. "
    return (f"{points}The content agrees in {found.agreeing} of {found.tiles} places, to {_number(found.residual_px)} "
            f"px; the corners are uncertain by {_number(found.deviation_px)} px. The shot covers "
            f"{100 * found.overlap:.0f} % of the reference, whose middle is shifted in it by {_signed(dx, 1)} px to "
            f"the right and {_signed(dy, 1)} px down, turned by {_signed(math.degrees(math.atan2(y, x)), 2)}°, and "
            f"{100 * math.hypot(x, y):.2f} % as large.")


def _table(fusion: Fusion, sizes: Sequence[tuple[int, int]]) -> str:
    """A row for each shot; columns that have nothing to say are left out."""
    columns = [("Size", "px", [_size(size, "") for size in sizes]), ("Exposure", "stops", _exposures(fusion.stops)),
               ("Sharpest in", "of the picture", _shares(fusion)), *_registration(fusion.registrations)]
    columns = [column for column in columns if set(column[2]) != {_NONE}]
    head = "".join(f'<th scope="col">{name}<small>{unit}</small></th>' for name, unit, _ in columns)
    rows = []
    for number, (name, colour) in enumerate(zip(fusion.names, shot_colours(len(fusion.names)))):
        swatch = "" if fusion.sources is None else (f'<svg class="swatch" viewBox="0 0 14 14" aria-hidden="true"><rect '
                                                    f'width="14" height="14" fill="#{bytes(colour).hex()}"/></svg> ')
        label = f"{swatch}{number + 1} {html.escape(Path(name).name)}" + ("" if number else " <small>reference</small>")
        rows.append(f'<tr><th scope="row">{label}</th>' + "".join(f"<td>{cells[number]}</td>" for *_, cells in columns)
                    + "</tr>")
    return (f'<table id="shots"><thead><tr><th scope="col">Shot</th>{head}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table>')


def _registration(found: Sequence[Registration | None]) -> list[tuple[str, str, list[str]]]:
    """The columns about where the shots were found."""
    def cells(text) -> list[str]:
        return [_NONE if one is None else text(one) for one in found]

    return [
        ("Matching points", "that agree, of all",
         cells(lambda r: f"{r.inliers:,} of {r.matches:,}" if r.matches else _NONE)),
        ("Places", "whose content agrees", cells(lambda r: f"{r.agreeing} of {r.tiles}")),
        ("Residual", "px", cells(lambda r: _number(r.residual_px))),
        ("Corners", "uncertain by px", cells(lambda r: _number(r.deviation_px))),
        ("Overlap", "of the reference", cells(lambda r: f"{100 * r.overlap:.0f} %")),
        ("Confident", "", cells(lambda r: "yes" if r.confident else f"no: {html.escape(r.doubts)}")),
    ]


def _exposures(stops: Sequence[float] | None) -> list[str]:
    """Stops relative to the reference, with a bar to the left or the right of none."""
    if stops is None:
        return [_NONE]
    most = max(_LEAST_BAR_STOPS, *map(abs, stops))
    cells = []
    for value in stops:
        length = _BAR_PX * abs(value) / most
        start = _BAR_PX - (length if value < 0 else 0)
        cells.append(f'<svg class="bar" viewBox="0 0 {2 * _BAR_PX} 12" aria-hidden="true"><rect x="{start:.1f}" y="1" '
                     f'width="{length:.1f}" height="10"/><line x1="{_BAR_PX}" x2="{_BAR_PX}" y2="12"/></svg> '
                     f"{_signed(value, 2)}")
    return cells


def _shares(fusion: Fusion) -> list[str]:
    """How much of the picture each shot is the sharpest in."""
    if fusion.sources is None:
        return [_NONE]
    counts = np.bincount(fusion.sources.ravel(), minlength=len(fusion.names))
    return [f"{100 * count / fusion.sources.size:.1f} %" for count in counts]


def _settings(fusion: Fusion, made: datetime) -> str:
    image, options, weights = fusion.image, fusion.options, fusion.weights
    facts = [("Result", f"{Path(fusion.output).name}, {_size(image.shape[1::-1])}, {8 * image.dtype.itemsize} bits, "
                        f"{'grey' if image.ndim == 2 else 'colour'}")]
    if options is None:
        facts.append(("Preset", "paper: registered shots, fused in one piece"))
    else:
        registration = ("none: the shots were taken as registered" if options.align == "none"
                        else f"{options.align}, {options.model}")
        cut = f"cut to what all shots show, from {fusion.frame[1]}, {fusion.frame[0]} px on" if options.crop else "no"
        facts += [("Preset", "photo"), ("Registration", registration),
                  ("Exposure", f"{options.exposure}: {_EXPOSURES[options.exposure]}"), ("Crop", cut),
                  ("Pixels", f"{options.pixels}: {_PIXELS[options.pixels]}")]
    if weights is not None:
        written = f"written by edmf-jax {weights.version or 'of unknown version'}"
        facts += [("Weights", f"{Path(weights.name).name}, {written}"),
                  ("SHA-256 of them", params_sha256(weights.params))]
    facts += [("Program", _versions()),
              ("Made", f"{made:%Y-%m-%d %H:%M:%S %z}, in {fusion.seconds:.1f} s")]
    return f'<dl class="methods">{"".join(f"<dt>{key}</dt><dd>{html.escape(value)}</dd>" for key, value in facts)}</dl>'


def _versions() -> str:
    found = []
    for name in ("edmf-jax", "jax", "opencv-python-headless"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # a checkout that is not installed, or OpenCV under its other name
    return ", ".join(found)


def _size(size: Sequence[int], unit: str = " px") -> str:
    return f"{size[0]} × {size[1]}{unit}"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else _NONE


def _signed(value: float, digits: int) -> str:
    """With a sign that is no hyphen; none of zero."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'−' if value < 0 else '+'}{text}"

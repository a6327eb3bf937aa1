"""The page of a fusion as HTML: fills fusion.html.j2 with the shots and settings, and its script with data.

Of a path only the last part is shown, because a page is made to be passed on and folders are private.
"""

import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edmf_jax.fusion.record import FusionRecord
from edmf_jax.fusion.shot_files import without_folders
from edmf_jax.fusion.stack.options import Chooser
from edmf_jax.io.palette_png import shot_colors
from edmf_jax.registration import Registration
from edmf_jax.registration.transforms import project
from edmf_jax.reports.fusion_pictures import UNALIGNED_PX, FusionPictures
from edmf_jax.reports.picture_layers import DetailLevel, encode_webp, shrink
from edmf_jax.reports.webpage import render_page, script_json
from edmf_jax.weights.params import params_sha256

MAX_SHOWN_MATCHES = 150
"""At most so many matching points of a shot are drawn; more would cover the pictures."""
_MIN_UNALIGNED_PX = 120
_SCRIPTS = ("common.js", "viewer.js", "matches.js", "fusion.js")
_POSITION_UNITS = 10_000  # positions of points are whole numbers of this fraction of a side
_BAR_HALF_PX, _BAR_MIN_STOPS = 30, 1.0  # half the width of an exposure's bar, and the stops it stands for at least
_NO_VALUE = "–"
_EXPOSURE_TEXTS = {"reference": "of the first shot", "average": "the middle between the shots",
                   "well-exposed": "of the best-exposed shots"}
_PIXELS_TEXTS = {"shots": "each from the shots that are sharp there, without the network",
                 "network": "luma from the network, color from the shots"}


class ExposureBar(NamedTuple):
    """A bar to the left or right of the middle of a drawing `width` wide: its left edge `x` and its `length`."""

    x: str
    length: str
    middle: int = _BAR_HALF_PX
    width: int = 2 * _BAR_HALF_PX


class Column(NamedTuple):
    """A column of the table of shots: its heading, a line below that, and a text for each shot, some with a bar."""

    title: str
    unit: str
    cells: list[str]
    bars: list[ExposureBar] | None = None


def render(fusion: FusionRecord, sizes: Sequence[tuple[int, int]], pictures: Sequence[str], made: datetime) -> str:
    """The page.

    Args:
      fusion: what was done.
      sizes: width and height of each shot, px.
      pictures: `script_json` of a `picture_record`, or nothing.
      made: the time to show.
    """
    name = Path(fusion.output).name
    colors = [None] * len(fusion.names) if fusion.sources is None else _css_colors(len(fusion.names))
    return render_page(
        "fusion.html.j2", _SCRIPTS,
        title=f"{name}: fused from {len(fusion.names)} shots", heading=name,
        what=f"{len(fusion.names)} shots of one scene became one picture of {_size_text(fusion.frame[:1:-1])}.",
        shots=[{"name": Path(path).name, "color": color} for path, color in zip(fusion.names, colors)],
        columns=_columns(fusion, sizes), has_exposures=bool(fusion.stops), settings=_settings(fusion, made),
        left_out=_left_out(fusion), max_matches=MAX_SHOWN_MATCHES, data=script_json(_script_data(fusion, sizes)),
        pictures=pictures)


def _left_out(fusion: FusionRecord) -> list[tuple[str, str]]:
    """The name of each shot that was not used, and why, without folders."""
    paths = [*fusion.names, *fusion.left_out]
    return [(Path(path).name, without_folders(reason, paths)) for path, reason in fusion.left_out.items()]


def picture_record(fusion: FusionRecord, pictures: FusionPictures, views: Mapping[str, Any], level: DetailLevel
                   ) -> dict[str, Any]:
    """What viewer.js and matches.js need: `encode_layers`' views, matching points, and the unaligned shots."""
    matches = [_matches(registration, pictures.sizes[0], size)
               for registration, size in zip(fusion.registrations, pictures.sizes)]
    side = max(_MIN_UNALIGNED_PX, min(UNALIGNED_PX, level.whole_px // 2))
    drawn = [number for number, points in enumerate(matches) if points]
    unaligned = {number: encode_webp(shrink(pictures.unaligned[number], side), level.quality)
                 for number in ([0, *drawn] if drawn else [])}
    return {"id": Path(fusion.output).name, "why": "", "absent": {}, **views, "matches": matches,
            "unaligned": unaligned}


def _matches(registration: Registration | None, reference_size: tuple[int, int], shot_size: tuple[int, int]
             ) -> list[list[int]]:
    """Evenly chosen inliers, [x, y in the reference, x, y in the shot] each, in `_POSITION_UNITS` of the sides."""
    if registration is None or registration.points is None or not len(registration.points):
        return []
    count = len(registration.points)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_SHOWN_MATCHES)).astype(int))
    ends = [(points[chosen] + 0.5) / size * _POSITION_UNITS
            for points, size in ((registration.points, reference_size), (registration.targets, shot_size))]
    return np.rint(np.hstack(ends)).astype(int).tolist()


def _script_data(fusion: FusionRecord, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    return {"positionUnits": _POSITION_UNITS,
            "shots": [{"name": Path(name).name, "color": color, "size": size,
                       "evidence": _evidence(registration, sizes[0])}
                      for name, color, size, registration in zip(fusion.names, _css_colors(len(fusion.names)), sizes,
                                                                 fusion.registrations)]}


def _css_colors(count: int) -> list[str]:
    """#rrggbb of each shot, as in the map."""
    return [f"#{bytes(color).hex()}" for color in shot_colors(count)]


def _evidence(registration: Registration | None, reference_size: tuple[int, int]) -> str:
    """How sure a registration is and where the shot lies, in sentences."""
    if registration is None:
        return ""
    middle = np.array([[reference_size[0] / 2, reference_size[1] / 2]]) - 0.5
    at, right = project(registration.matrix, np.vstack([middle, middle + np.array([1, 0])]))
    (dx, dy), (x, y) = at - middle[0], right - at
    points = "" if registration.points is None else (f"{registration.inliers:,} of {registration.matches:,} matching "
                                                     "points agree. ")
    bent = "" if registration.flow is None else ("No single map fits near and far, so this one is bent by up to "
                                                 f"{_format_px(registration.flow.largest_px)} px. ")
    return (f"{points}The content agrees in {registration.agreeing_tiles} of {registration.tiles} places, to "
            f"{_format_px(registration.residual_px)} px; the corners are uncertain by "
            f"{_format_px(registration.deviation_px)} px. {bent}The shot covers {100 * registration.overlap:.0f} % of "
            f"the reference. In the shot the reference’s middle is shifted by {_format_signed(dx, 1)} px to the right "
            f"and {_format_signed(dy, 1)} px down, rotated by {_format_signed(math.degrees(math.atan2(y, x)), 2)}°, "
            f"and at {100 * math.hypot(x, y):.2f} % of its size.")


def _columns(fusion: FusionRecord, sizes: Sequence[tuple[int, int]]) -> list[Column]:
    """The table of shots; columns without a single value are left out."""
    columns = [Column("Size", "px", [_size_text(size, "") for size in sizes]), _exposure_column(fusion.stops),
               Column("Sharpest in", "of the picture", _shares(fusion)), *_registration_columns(fusion)]
    return [column for column in columns if set(column.cells) != {_NO_VALUE}]


def _registration_columns(fusion: FusionRecord) -> list[Column]:
    def cells(text: Callable[[Registration], str]) -> list[str]:
        return [_NO_VALUE if one is None else text(one) for one in fusion.registrations]

    neighbors = [_NO_VALUE if number is None else f"{number + 1} {Path(fusion.names[number]).name}"
                 for number in fusion.neighbors]
    return [
        *([Column("Registered to", "shot", neighbors)] if len(fusion.names) > 2 else []),
        Column("Matching points", "that agree, of all",
               cells(lambda r: f"{r.inliers:,} of {r.matches:,}" if r.matches else _NO_VALUE)),
        Column("Places", "whose content agrees",
               cells(lambda r: f"{r.agreeing_tiles} of {r.tiles}" if r.tiles else _NO_VALUE)),
        Column("Residual", "px", cells(lambda r: _format_px(r.residual_px))),
        Column("Corners", "uncertain by px", cells(lambda r: _format_px(r.deviation_px))),
        Column("Bent", "by px at most", cells(lambda r: _format_px(r.flow.largest_px) if r.flow else _NO_VALUE)),
        Column("Overlap", "of the reference", cells(lambda r: f"{100 * r.overlap:.0f} %")),
        Column("Confident", "", cells(lambda r: "yes" if r.confident else f"no: {r.doubts}")),
    ]


def _exposure_column(stops: Sequence[float] | None) -> Column:
    """Stops relative to the reference, each with a bar to the left (darker) or right (brighter) of the middle."""
    if stops is None:
        return Column("Exposure", "stops", [_NO_VALUE])
    full_stops = max(_BAR_MIN_STOPS, *map(abs, stops))
    bars = []
    for value in stops:
        length = _BAR_HALF_PX * abs(value) / full_stops
        bars.append(ExposureBar(f"{_BAR_HALF_PX - (length if value < 0 else 0):.1f}", f"{length:.1f}"))
    return Column("Exposure", "stops", [_format_signed(value, 2) for value in stops], bars)


def _shares(fusion: FusionRecord) -> list[str]:
    """The share of the picture in which each shot is the sharpest."""
    if fusion.sources is None:
        return [_NO_VALUE]
    counts = np.bincount(fusion.sources.ravel(), minlength=len(fusion.names))
    return [f"{100 * count / fusion.sources.size:.1f} %" for count in counts]


def _settings(fusion: FusionRecord, made: datetime) -> list[tuple[str, str]]:
    """(term, description) of the result, the options, the weights and the program."""
    image, options, weights = fusion.image, fusion.options, fusion.weights
    size, kind = _size_text(image.shape[1::-1]), "gray" if image.ndim == 2 else "color"
    facts = [("Result", f"{Path(fusion.output).name}, {size}, {8 * image.dtype.itemsize} bits, {kind}")]
    if options is None:
        facts.append(("Preset", "paper: registered shots, fused by the network"))
    else:
        registration = ("none: the shots were taken to be registered" if options.align == "none"
                        else f"{options.align}, {options.model}")
        if fusion.alignment is not None:
            registration = f"taken from {Path(fusion.alignment).name}"
        crop = f"cut to what all shots show, from {fusion.frame[1]}, {fusion.frame[0]} px on" if options.crop else "no"
        facts += [("Preset", "photo"), ("Registration", registration),
                  ("Exposure", f"{options.exposure}: {_EXPOSURE_TEXTS[options.exposure]}"), ("Crop", crop),
                  ("Pixels", f"{options.pixels}: {_PIXELS_TEXTS[options.pixels]}")]
        if fusion.result is not None and fusion.result.device is not None:
            facts.append(("Blended on", fusion.result.device))
    if weights is not None:
        how = (f"a network that chooses among the shots; it ran in {_runtime(fusion)}" if isinstance(weights, Chooser)
               else f"written by edmf-jax {weights.version or 'of unknown version'}")
        facts += [("Weights", f"{Path(weights.name).name}, {how}"),
                  ("SHA-256 of the weights", params_sha256(weights.params))]
    facts += [("Program", _versions()),
              ("Made", f"{made:%Y-%m-%d %H:%M:%S %z}, in {fusion.seconds:.1f} s")]
    return facts


def _runtime(fusion: FusionRecord) -> str:
    """What computed the network that chooses."""
    device = fusion.result and fusion.result.device
    return f"JAX on the device {device!r}" if device else fusion.weights.runtime


def _versions() -> str:
    found = []
    for name in ("edmf-jax", "jax", "opencv-python-headless"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # a checkout that is not installed, or OpenCV under another name
    return ", ".join(found)


def _size_text(size: Sequence[int], unit: str = " px") -> str:
    return f"{size[0]} × {size[1]}{unit}"


def _format_px(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else _NO_VALUE


def _format_signed(value: float, digits: int) -> str:
    """With + or a true minus sign; zero has neither."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'−' if value < 0 else '+'}{text}"

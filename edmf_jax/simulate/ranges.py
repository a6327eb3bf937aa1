"""What the simulation draws from: one field a knob, a range (least, most) or a share of the samples in [0, 1]."""

from typing import NamedTuple

Range = tuple[float, float]


class Ranges(NamedTuple):
    """Every knob.  `configs/chooser.py` has the values that are trained with, and why; `OFF` turns every effect off.

    "log" means that the logarithm is drawn evenly.  px are of the picture; levels are of 8 bits.
    """

    # Sharp pictures
    zoom: Range  # enlargement of a sharp picture, log
    zoom_share: float  # others are taken as they are
    gray_share: float  # without color
    # Layers
    front_shares: tuple[float, ...]  # of each layer before the background, from the back
    plain_share: float  # front layers that are nearly plain: a post, a finger, a shade
    smooth_share: float  # backgrounds that are blurred in the scene itself: sky, a wall
    thin_px: Range  # width of bars and strands, log
    soft_edge_px: Range  # width over which an edge fades, log
    soft_share: float  # others have hard edges, antialiased
    ragged_px: Range  # displacement of ragged edges
    ragged_share: float
    hairy_px: Range  # length of hair
    hairy_share: float
    # Depth and focus
    span_px: Range  # radius of the blur that one end of the scene's depth has when the other is in focus, log
    slope_share: float  # backgrounds that run away from the camera
    unfocused_share: float  # samples in which part of the depth is in focus in no shot
    focus_jitter: Range  # of the focus distances, share of the depth
    # Blur
    gaussian_share: float  # kernels; what is left of both shares is a disc
    cat_eye_share: float
    cat_eye_cut: Range  # part of the diameter that a cat's eye lacks
    encoded_share: float  # blurred in encoded values instead of light
    pasted_share: float  # as data sets are made: a hard mask, no layer spreads
    pasted_sigma_px: Range  # of their Gaussian, log
    pasted_coarse_share: float  # of pasted samples, whose masks are cut coarsely, a few px beside the outlines
    pasted_line_share: float  # of pasted samples, where what is blurred was cut out before a black or white ground
    dark_rim_share: float  # of pasted samples, in which blur takes what lies beyond the picture for black
    # Light
    lamp_share: float
    lamp_light: Range  # of small lamps, 1 is white; log
    highlight_light: Range  # added to what is nearly white
    # Camera
    uneven_share: float  # samples in which leveling left something (the next four)
    stops: Range  # standard deviation of the exposure
    gamma: Range  # standard deviation of log gamma
    color_stops: Range  # standard deviation, a channel
    field_stops: Range  # standard deviation of a smooth field's coefficients: vignetting, a cloud
    clip_share: float  # samples in which a shot was exposed longer and clips below the others' white
    clip_stops: Range
    noise_share: float
    noise_levels: Range  # standard deviation in mid gray
    noise_spread: Range  # standard deviation of its logarithm over the shots: ISO
    hot_share: float
    hot_density: Range  # share of the pixels that are hot
    sharpen_share: float
    sharpen: Range  # unsharp masking as phones do it
    jpeg_share: float  # others have 8 bits
    jpeg_quality: Range
    # Registration
    shift_share: float
    shift_px: Range  # largest error
    turn: Range  # standard deviation of rotation and scale, relative
    parallax_share: float
    parallax_px: Range  # shift of a layer where it is blurred, against where it is sharp
    # Coverage
    frame_share: float  # pictures that end, and are continued mirrored
    uncovered_share: float  # shots, but the first, that end inside the picture
    uncovered_px: Range  # how far from the edge


_NONE = (0.0, 0.0)
OFF = Ranges(
    zoom=(1.0, 1.0), zoom_share=0.0, gray_share=0.0, front_shares=(1.0, 1.0), plain_share=0.0, smooth_share=0.0,
    thin_px=(4.0, 4.0), soft_edge_px=(1.0, 1.0), soft_share=0.0, ragged_px=_NONE, ragged_share=0.0, hairy_px=_NONE,
    hairy_share=0.0, span_px=(4.0, 4.0), slope_share=0.0, unfocused_share=0.0, focus_jitter=_NONE, gaussian_share=0.0,
    cat_eye_share=0.0, cat_eye_cut=_NONE, encoded_share=0.0, pasted_share=0.0, pasted_sigma_px=(2.0, 2.0),
    pasted_coarse_share=0.0, pasted_line_share=0.0, dark_rim_share=0.0, lamp_share=0.0, lamp_light=(1.0, 1.0),
    highlight_light=_NONE,
    uneven_share=0.0, stops=_NONE, gamma=_NONE, color_stops=_NONE, field_stops=_NONE, clip_share=0.0, clip_stops=_NONE,
    noise_share=0.0, noise_levels=_NONE, noise_spread=_NONE, hot_share=0.0, hot_density=_NONE, sharpen_share=0.0,
    sharpen=_NONE, jpeg_share=0.0, jpeg_quality=(100.0, 100.0), shift_share=0.0, shift_px=_NONE, turn=_NONE,
    parallax_share=0.0, parallax_px=_NONE, frame_share=0.0, uncovered_share=0.0, uncovered_px=_NONE)
"""Every effect off: two layers before a background, hard edges, a disc, and nothing that a camera adds."""


def from_fields(fields: dict) -> Ranges:
    """`Ranges` of a configuration's section; lists become tuples.

    Raises:
      ValueError: a field is missing or unknown, a range is not ordered, or a share is not in [0, 1].
    """
    wrong = sorted(fields.keys() ^ set(Ranges._fields))
    if wrong:
        raise ValueError(f"simulate.{wrong[0]}: {'missing' if wrong[0] in Ranges._fields else 'no such field'}")
    for name, value in fields.items():
        if isinstance(value, int | float):
            if not 0 <= value <= 1:
                raise ValueError(f"simulate.{name}={value}: a share is from 0 to 1")
        elif name != "front_shares" and (len(value) != 2 or value[0] > value[1]):
            raise ValueError(f"simulate.{name}={tuple(value)}: a range is (least, most)")
    return Ranges(**{n: tuple(v) if isinstance(v, list | tuple) else float(v) for n, v in fields.items()})

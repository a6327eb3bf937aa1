"""One fused picture: how it is stored, and the metrics of the stored picture."""

import difflib
from collections.abc import Sequence

import cv2
import numpy as np

from edmf_jax.core.color import to_8_bits, to_gray
from edmf_jax.data.pairs import Scene
from edmf_jax.errors import UserError
from edmf_jax.io.images import decode_image, read_image
from edmf_jax.metrics import COLOR_TO_TRUTH, FURTHER, TABLE_2, TO_TRUTH, Metric, evaluate, evaluate_to_truth

# The defaults of Pillow and SciPy, which the paper's programs used: quality 75, color at half size.
_JPEG75 = (cv2.IMWRITE_JPEG_QUALITY, 75, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
STORES = {"png": (".png", ()), "jpeg75": (".jpg", _JPEG75)}
"""Value of `--store` → file suffix, and OpenCV's encoder settings."""

GROUPS = {"table2": TABLE_2, "all": (*TABLE_2, *FURTHER)}
"""Values of `--metrics` that stand for several metrics."""
DEFAULT_METRICS = ("table2",)


def choose_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of sources and fused picture that `--metrics` names.

    Args:
      names: metrics or groups of metrics, in upper or lower case.

    Returns:
      Each metric once, in the order of `GROUPS["all"]`.

    Raises:
      UserError: an unknown name, or none.
    """
    choices = f"use {', '.join(GROUPS)} or any of {', '.join(m.name for m in GROUPS['all'])}"
    known = {m.name.lower(): (m.name, (m,)) for m in GROUPS["all"]}
    known |= {name: (name, group) for name, group in GROUPS.items()}
    for name in names:
        if name.lower() not in known:
            nearest = difflib.get_close_matches(name.lower(), known, 1)
            hint = f" (did you mean {known[nearest[0]][0]}?)" if nearest else ""
            raise UserError(f"--metrics {name} is unknown{hint}; {choices}")
    if not names:
        raise UserError(f"--metrics: none given; {choices}")
    chosen = {m for name in names for m in known[name.lower()][1]}
    return tuple(m for m in GROUPS["all"] if m in chosen)


def metric_columns(*, truth: bool, color: bool, metrics: Sequence[str] = DEFAULT_METRICS) -> list[dict[str, str]]:
    """The metrics of `score`, in order, as `evaluation.json` holds them.

    Args:
      truth: whether the data set has a ground truth.
      color: whether the ground truth and the fused pictures are in color.
      metrics: see `choose_metrics`.

    Returns:
      For each metric its name, the better side ("higher" or "lower") and its unit.
    """
    to_truth = (*TO_TRUTH, *(COLOR_TO_TRUTH if color else ())) if truth else ()
    named = [*((m.name, m) for m in choose_metrics(metrics)), *((f"{m.name}_truth", m) for m in to_truth)]
    return [{"name": name, "better": "higher" if m.higher_is_better else "lower", "unit": m.unit} for name, m in named]


def score(scene: Scene, fused: np.ndarray, metrics: Sequence[str] = DEFAULT_METRICS, rim_px: int = 0
          ) -> dict[str, float]:
    """The metrics of one fused picture.

    All but the metrics against the truth are computed on gray levels (MATLAB's rgb2gray of sources and fused picture).

    Args:
      scene: the sources, and the ground truth if there is one.
      fused: uint8 `[H, W]` or RGB `[H, W, 3]`.
      metrics: see `choose_metrics`.
      rim_px: not scored on each side.

    Returns:
      Name → value; the names of metrics against the truth end in `_truth`.

    Raises:
      UserError: `metrics` contains an unknown name; the rim leaves nothing.
    """
    if rim_px:
        scene, fused = _without_rim(scene, fused, rim_px)
    values = evaluate(to_gray(scene.a), to_gray(scene.b), to_gray(fused), choose_metrics(metrics))
    if scene.truth is None:
        return values
    picture, truth = fused, scene.truth
    if picture.ndim != truth.ndim:
        picture, truth = to_gray(picture), to_gray(truth)
    return values | {f"{name}_truth": value for name, value in evaluate_to_truth(picture, truth).items()}


def _without_rim(scene: Scene, fused: np.ndarray, rim_px: int) -> tuple[Scene, np.ndarray]:
    if min(fused.shape[:2]) <= 2 * rim_px:
        raise UserError(f"--rim-px={rim_px}: pair {scene.id} has {fused.shape[1]}×{fused.shape[0]} px, of which "
                        "nothing would be left; use less")
    a, b, truth, fused = (x if x is None else np.ascontiguousarray(x[rim_px:-rim_px, rim_px:-rim_px])
                          for x in (scene.a, scene.b, scene.truth, fused))
    return Scene(scene.id, a, b, truth), fused


def score_files(a: str, b: str, fused: str, truth: str | None = None,
                metrics: Sequence[str] = DEFAULT_METRICS) -> dict[str, float]:
    """`score` of picture files; 16-bit pictures are rounded to 8 bits first.

    Raises:
      UserError: a file can't be read, or differs in size from the first; an unknown metric.
      MissingFileError: a file does not exist.
    """
    choose_metrics(metrics)  # reports a mistyped name before any file is read
    paths = [path for path in (a, b, fused, truth) if path is not None]
    pictures = [to_8_bits(read_image(path)) for path in paths]
    for path, picture in zip(paths, pictures):
        if picture.shape[:2] != pictures[0].shape[:2]:
            (height, width), (high, wide) = picture.shape[:2], pictures[0].shape[:2]
            raise UserError(f"{path}: {width}×{height} px, but {paths[0]} has {wide}×{high} px; give pictures of one "
                            "size")
    scene = Scene("", pictures[0], pictures[1], pictures[3] if truth is not None else None)
    return score(scene, pictures[2], metrics)


def score_table(values: dict[str, float]) -> str:
    """The values of `score` as text: a line per metric with its name, value, better side (an arrow) and unit."""
    lines = []
    for column in metric_columns(truth=True, color=True, metrics=("all",)):
        if column["name"] in values:
            arrow = {"higher": "↑", "lower": "↓"}[column["better"]]
            lines.append(f"{column['name']:14}{values[column['name']]:12.4f}  {arrow} {column['unit']}".rstrip())
    return "\n".join(lines)


def encode(picture: np.ndarray, store: str) -> bytes:
    """The bytes of the picture's file.

    Args:
      picture: uint8 `[H, W]` or RGB `[H, W, 3]`.
      store: a key of `STORES`.

    Raises:
      UserError: the picture is too large for the format.
    """
    suffix, settings = STORES[store]
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    try:
        succeeded, data = cv2.imencode(suffix, pixels, settings)
    except cv2.error:
        succeeded = False
    if not succeeded:
        raise UserError(f"--store={store}: a picture of {picture.shape[1]}×{picture.shape[0]} px is too large for "
                        "this format; use --store png")
    return data.tobytes()


def as_stored(picture: np.ndarray, data: bytes, store: str) -> np.ndarray:
    """The picture as read back from `data`, its bytes from `encode`; PNG is lossless, so the picture itself."""
    return picture if store == "png" else decode_image(data, "the stored picture")

"""One fused picture: how it is stored, and every metric of what was stored."""

import difflib
from collections.abc import Sequence

import cv2
import numpy as np

from edmf_jax.copies import to_8_bits
from edmf_jax.errors import UserError
from edmf_jax.images import decode_image, read_image
from edmf_jax.metrics import COLOR_TO_TRUTH, FURTHER, TABLE_2, TO_TRUTH, Metric, evaluate, evaluate_to_truth
from edmf_jax.pairs import Scene, to_gray

# What Pillow and SciPy do by default, and so did the paper's programs: quality 75, colour at half size.
_JPEG75 = (cv2.IMWRITE_JPEG_QUALITY, 75, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
STORES = {"png": (".png", ()), "jpeg75": (".jpg", _JPEG75)}
"""`--store` → suffix and OpenCV's encoder settings."""

GROUPS = {"table2": TABLE_2, "all": (*TABLE_2, *FURTHER)}
"""Names of `--metrics` that stand for several."""
DEFAULT_METRICS = ("table2",)


def choose(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of the sources and the fused picture that `--metrics` names, each once, in the order of `GROUPS`.

    Args:
      names: metrics or groups of them, capitals or not.

    Raises:
      UserError: an unknown name, or none at all.
    """
    ways = f"use {', '.join(GROUPS)} or any of {', '.join(m.name for m in GROUPS['all'])}"
    known = {m.name.lower(): (m.name, (m,)) for m in GROUPS["all"]}
    known |= {name: (name, group) for name, group in GROUPS.items()}
    for name in names:
        if name.lower() not in known:
            nearest = difflib.get_close_matches(name.lower(), known, 1)
            hint = f" (did you mean {known[nearest[0]][0]}?)" if nearest else ""
            raise UserError(f"--metrics {name} is unknown{hint}; {ways}")
    if not names:
        raise UserError(f"--metrics: none given; {ways}")
    chosen = {m for name in names for m in known[name.lower()][1]}
    return tuple(m for m in GROUPS["all"] if m in chosen)


def columns(*, truth: bool, color: bool, metrics: Sequence[str] = DEFAULT_METRICS) -> list[dict[str, str]]:
    """The metrics of `score`, in order: name, which side is better, unit.

    Args:
      truth: whether there is a ground truth.
      color: whether it and the fused pictures are in colour.
      metrics: see `choose`.
    """
    to_truth = (*TO_TRUTH, *(COLOR_TO_TRUTH if color else ())) if truth else ()
    named = [*((m.name, m) for m in choose(metrics)), *((f"{m.name}_truth", m) for m in to_truth)]
    return [{"name": name, "better": "higher" if m.higher_is_better else "lower", "unit": m.unit} for name, m in named]


def score(scene: Scene, fused: np.ndarray, metrics: Sequence[str] = DEFAULT_METRICS) -> dict[str, float]:
    """The metrics of one fused picture of 8 bits: name → value; those to the truth end in `_truth`.

    All but those to the truth are taken on grey levels, MATLAB's rgb2gray of sources and fused picture.

    Raises:
      UserError: `metrics` names an unknown one (see `choose`).
    """
    values = evaluate(to_gray(scene.a), to_gray(scene.b), to_gray(fused), choose(metrics))
    if scene.truth is None:
        return values
    picture, truth = fused, scene.truth
    if picture.ndim != truth.ndim:
        picture, truth = to_gray(picture), to_gray(truth)
    return values | {f"{name}_truth": value for name, value in evaluate_to_truth(picture, truth).items()}


def score_files(a: str, b: str, fused: str, truth: str | None = None,
                metrics: Sequence[str] = DEFAULT_METRICS) -> dict[str, float]:
    """`score` of picture files; 16 bits are rounded to 8 first.

    Raises:
      UserError: a file can't be read, or differs in size from the first; an unknown metric.
      MissingFileError: a file does not exist.
    """
    choose(metrics)  # a mistyped name is told before anything is read
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
    """Names, values, units and better sides of `score`'s metrics, a line each."""
    lines = []
    for column in columns(truth=True, color=True, metrics=("all",)):
        if column["name"] in values:
            arrow = {"higher": "↑", "lower": "↓"}[column["better"]]
            lines.append(f"{column['name']:14}{values[column['name']]:12.4f}  {arrow} {column['unit']}".rstrip())
    return "\n".join(lines)


def encode(picture: np.ndarray, store: str) -> bytes:
    """The bytes of a picture file.

    Raises:
      UserError: the picture is too large for the format.
    """
    suffix, settings = STORES[store]
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    try:
        done, data = cv2.imencode(suffix, pixels, settings)
    except cv2.error:
        done = False
    if not done:
        raise UserError(f"--store={store}: a picture of {picture.shape[1]}×{picture.shape[0]} px can't be stored so; "
                        "use --store png")
    return data.tobytes()


def as_stored(picture: np.ndarray, data: bytes, store: str) -> np.ndarray:
    """The picture that is read back from the bytes of `encode`."""
    return picture if store == "png" else decode_image(data, "the stored picture")

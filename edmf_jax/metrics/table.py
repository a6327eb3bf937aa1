"""The metrics by name, and their values for pictures of any size."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics import (
    contrast,
    exposure,
    feature,
    fidelity,
    gradient,
    information,
    phase,
    structure,
    truth,
    visual_information,
)
from edmf_jax.metrics.buckets import pad_to_bucket
from edmf_jax.metrics.frames import Frame
from edmf_jax.metrics.gray import rgb_to_gray


class Metric(NamedTuple):
    """A metric as a column of a table; `function` takes the pictures and, by keyword, their frame."""

    name: str
    function: Callable[..., jax.Array]
    higher_is_better: bool = True
    unit: str = ""
    in_pieces: bool = False  # faster outside of `jit`, where it compiles little for a known frame


def _of_fused(function: Callable) -> Callable:
    return lambda a, b, fused, *, frame=None: function(fused, frame=frame)


TABLE_2 = (
    Metric("EN", _of_fused(information.entropy), unit="bit"),
    Metric("MI", information.mutual_information, unit="bit"),
    Metric("SF", _of_fused(gradient.spatial_frequency), unit="grey level"),
    Metric("VIF", visual_information.vif),
    Metric("Qabf", gradient.qabf),
    Metric("SSIM", structure.ssim),
    Metric("AG", _of_fused(gradient.average_gradient), unit="grey level"),
    Metric("PSNR", fidelity.psnr, unit="dB"),
)
"""The eight of the paper's Table 2, in its order and in the convention of its toolbox."""

FURTHER = (
    Metric("Q_MI", information.normalized_mutual_information),
    Metric("Q_Y", structure.yang_quality),
    Metric("Q_CB", contrast.chen_blum_quality),
    Metric("Q_P", phase.phase_congruency_quality, in_pieces=True),
    Metric("FMI", feature.feature_mutual_information),
    Metric("MEF-SSIM", exposure.mef_ssim),
    Metric("CC", fidelity.correlation_coefficient),
    Metric("SCD", fidelity.sum_of_correlations_of_differences),
    Metric("SD", _of_fused(fidelity.standard_deviation), unit="grey level"),
)
"""What the field reports besides."""

TO_TRUTH = (
    Metric("PSNR", truth.psnr, unit="dB"),
    Metric("SSIM", truth.ssim),
    Metric("MS-SSIM", truth.ms_ssim),
)
"""Of a grey picture and its ground truth."""

COLOR_TO_TRUTH = (Metric("ΔE2000", truth.delta_e_2000, higher_is_better=False),)
"""Of an RGB picture and its ground truth."""


def evaluate(
    a: np.ndarray, b: np.ndarray, fused: np.ndarray, metrics: tuple[Metric, ...] = TABLE_2
) -> dict[str, float]:
    """Every metric of `metrics` for one triple of 8-bit grey pictures, in their order.

    Pictures are padded to a few shapes (`buckets`), so that hundreds of sizes
    cost about ten compiles of a few seconds; the values are those of the unpadded pictures.

    Args:
      a, b, fused: uint8 `[H, W]`, one size (colour: `rgb_to_gray` first).
      metrics: columns that take a triple, of `TABLE_2` or `FURTHER`.

    Raises:
      ValueError: other shapes or types, or an empty picture.
    """
    return _evaluate({"a": a, "b": b, "fused": fused}, metrics)


def evaluate_to_truth(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM and MS-SSIM of an 8-bit picture and its ground truth; for RGB `[H, W, 3]`, of their grey, and ΔE 2000.

    Raises:
      ValueError: other shapes or types, or an empty picture.
    """
    pictures = {"image": image, "truth": truth}
    if image.ndim == 2:
        return _evaluate(pictures, TO_TRUTH)
    values = _evaluate({name: rgb_to_gray(picture) for name, picture in pictures.items()}, TO_TRUTH)
    return values | _evaluate(pictures, COLOR_TO_TRUTH, channels=(3,))


def _evaluate(
    pictures: dict[str, np.ndarray], metrics: tuple[Metric, ...], channels: tuple[int, ...] = ()
) -> dict[str, float]:
    shape = next(iter(pictures.values())).shape
    for name, picture in pictures.items():
        if picture.dtype != np.uint8 or picture.shape != shape or picture.shape[2:] != channels or picture.ndim < 2:
            raise ValueError(
                f"the pictures must be uint8 {('[H, W]' if not channels else '[H, W, 3]')} of one size, "
                f"got {name} of {picture.dtype} {picture.shape}, the first of {shape}; rgb_to_gray makes grey of RGB"
            )
    stack, frame = pad_to_bucket(np.stack(list(pictures.values())))
    together = tuple(m for m in metrics if not m.in_pieces)
    values = dict(zip([m.name for m in together], evaluate_padded(stack, frame, together).tolist())) if together else {}
    values |= {m.name: float(m.function(*stack, frame=frame)) for m in metrics if m.in_pieces}
    return {m.name: values[m.name] for m in metrics}


def _evaluate_padded(stack: jax.Array, frame: Frame, metrics: tuple[Metric, ...] = TABLE_2) -> jax.Array:
    """The metrics of padded pictures `[pictures, H, W]` (source A, source B, fused), one number each.

    Jitted; compiled once per shape of `stack`, whatever the frame.
    """
    return jnp.stack([m.function(*stack, frame=frame) for m in metrics])


evaluate_padded = jax.jit(_evaluate_padded, static_argnames="metrics")

"""The metrics as columns of tables, and their values for pictures of any size."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.buckets import pad_to_bucket
from edmf_jax.core.color import rgb_to_gray
from edmf_jax.core.valid_size import ValidSize
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


class Metric(NamedTuple):
    """A metric as a column of a table.

    Attributes:
      name: in tables, and on the command line.
      function: takes the pictures and, by keyword, their `valid_size`; returns one number per plane.
      higher_is_better: False: lower is better.
      unit: empty where there is none.
      eager: call it outside `jit`, where it is faster: with a known size it compiles less.
    """

    name: str
    function: Callable[..., jax.Array]
    higher_is_better: bool = True
    unit: str = ""
    eager: bool = False


def _of_fused(function: Callable) -> Callable:
    """A metric of the fused picture alone, with the arguments of the others."""
    return lambda a, b, fused, *, valid_size=None: function(fused, valid_size=valid_size)


TABLE_2 = (
    Metric("EN", _of_fused(information.entropy), unit="bit"),
    Metric("MI", information.mutual_information, unit="bit"),
    Metric("SF", _of_fused(gradient.spatial_frequency), unit="gray level"),
    Metric("VIF", visual_information.vif),
    Metric("Qabf", gradient.qabf),
    Metric("SSIM", structure.ssim),
    Metric("AG", _of_fused(gradient.average_gradient), unit="gray level"),
    Metric("PSNR", fidelity.psnr, unit="dB"),
)
"""The eight metrics of the paper's Table 2, in its order and with its toolbox's conventions."""

FURTHER = (
    Metric("Q_MI", information.normalized_mutual_information),
    Metric("Q_Y", structure.yang_quality),
    Metric("Q_CB", contrast.chen_blum_quality),
    Metric("Q_P", phase.phase_congruency_quality, eager=True),
    Metric("FMI", feature.feature_mutual_information),
    Metric("MEF-SSIM", exposure.mef_ssim),
    Metric("CC", fidelity.correlation_coefficient),
    Metric("SCD", fidelity.sum_of_correlations_of_differences),
    Metric("SD", _of_fused(fidelity.standard_deviation), unit="gray level"),
)
"""Other metrics that papers on image fusion report."""

TO_TRUTH = (
    Metric("PSNR", truth.psnr, unit="dB"),
    Metric("SSIM", truth.ssim),
    Metric("MS-SSIM", truth.ms_ssim),
)
"""Metrics of a gray picture and its ground truth."""

COLOR_TO_TRUTH = (Metric("ΔE2000", truth.delta_e_2000, higher_is_better=False),)
"""Metrics of an RGB picture and its ground truth."""


def evaluate(
    a: np.ndarray, b: np.ndarray, fused: np.ndarray, metrics: tuple[Metric, ...] = TABLE_2
) -> dict[str, float]:
    """Every metric of `metrics` for two sources and their fused picture, in that order.

    Pictures are padded to a few shapes (`core.buckets`), so that hundreds of sizes cost about ten compiles of a few
    seconds.  The values are those of the unpadded pictures.

    Args:
      a, b, fused: uint8 gray levels `[H, W]`, all of one size (convert color with `rgb_to_gray`).
      metrics: of `TABLE_2` or `FURTHER`.

    Returns:
      Metric's name → value.

    Raises:
      ValueError: another shape or type, or an empty picture.
    """
    return _evaluate({"a": a, "b": b, "fused": fused}, metrics)


def evaluate_to_truth(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM and MS-SSIM of a picture and its ground truth; for RGB those of their gray levels, and ΔE 2000.

    Args:
      image, truth: uint8, both `[H, W]` or both RGB `[H, W, 3]`.

    Returns:
      Metric's name → value.

    Raises:
      ValueError: another shape or type, or an empty picture.
    """
    pictures = {"image": image, "truth": truth}
    if image.ndim == 2:
        return _evaluate(pictures, TO_TRUTH)
    values = _evaluate({name: rgb_to_gray(picture) for name, picture in pictures.items()}, TO_TRUTH)
    return values | _evaluate(pictures, COLOR_TO_TRUTH, channels=(3,))


def _evaluate(
    pictures: dict[str, np.ndarray], metrics: tuple[Metric, ...], channels: tuple[int, ...] = ()
) -> dict[str, float]:
    """The metrics of pictures given by their argument's name, `[H, W]` or with `channels` as a third axis."""
    shape = next(iter(pictures.values())).shape
    for name, picture in pictures.items():
        if picture.dtype != np.uint8 or picture.shape != shape or picture.shape[2:] != channels or picture.ndim < 2:
            raise ValueError(
                f"pictures must be uint8 {('[H, W]' if not channels else '[H, W, 3]')} of one size; got "
                f"{name} of {picture.dtype} {picture.shape}, and a first one of {shape}; rgb_to_gray converts RGB to "
                "gray"
            )
    stack, valid_size = pad_to_bucket(np.stack(list(pictures.values())))
    jitted = tuple(m for m in metrics if not m.eager)
    row = evaluate_padded(stack, valid_size, jitted).tolist() if jitted else []
    values = dict(zip([m.name for m in jitted], row))
    values |= {m.name: float(m.function(*stack, valid_size=valid_size)) for m in metrics if m.eager}
    return {m.name: values[m.name] for m in metrics}


def _evaluate_padded(stack: jax.Array, valid_size: ValidSize, metrics: tuple[Metric, ...] = TABLE_2) -> jax.Array:
    """The metrics of padded pictures, jitted: compiled once per shape of `stack`, whatever the valid size.

    Args:
      stack: the pictures that `metrics` take, in order, `[pictures, H, W]` (source A, source B, fused).
      valid_size: their true size, a pair of integers.
      metrics: what to compute.

    Returns:
      One number per metric, `[metrics]`.
    """
    return jnp.stack([m.function(*stack, valid_size=valid_size) for m in metrics])


evaluate_padded = jax.jit(_evaluate_padded, static_argnames="metrics")

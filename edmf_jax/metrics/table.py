"""The eight metrics of Table 2 by name, and their values for one triple of pictures of any size."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics import fidelity, gradient, information, structure, vif
from edmf_jax.metrics.buckets import pad_to_bucket
from edmf_jax.metrics.frames import Frame


class Metric(NamedTuple):
    """A metric as a column of a table."""

    name: str
    function: Callable[..., jax.Array]  # (a, b, fused, *, frame) -> one number per triple of planes
    higher_is_better: bool = True
    unit: str = ""


def _of_fused(function: Callable) -> Callable:
    return lambda a, b, fused, *, frame=None: function(fused, frame=frame)


TABLE_2 = (
    Metric("EN", _of_fused(information.entropy), unit="bit"),
    Metric("MI", information.mutual_information, unit="bit"),
    Metric("SF", _of_fused(gradient.spatial_frequency), unit="grey level"),
    Metric("VIF", vif.vif),
    Metric("Qabf", gradient.qabf),
    Metric("SSIM", structure.ssim),
    Metric("AG", _of_fused(gradient.average_gradient), unit="grey level"),
    Metric("PSNR", fidelity.psnr, unit="dB"),
)


def evaluate(a: np.ndarray, b: np.ndarray, fused: np.ndarray, metrics: tuple[Metric, ...] = TABLE_2) -> dict[str, float]:
    """Every metric of `metrics` for one triple of 8-bit grey pictures, in their order.

    Pictures are padded to a few shapes (`buckets`), so that hundreds of sizes
    cost about ten compiles of a few seconds; the values are those of the unpadded pictures.

    Args:
      a, b, fused: uint8 `[H, W]`, one size (colour: `rgb_to_gray` first).

    Raises:
      ValueError: other shapes or types, or an empty picture.
    """
    pictures = {"a": a, "b": b, "fused": fused}
    for name, picture in pictures.items():
        if picture.dtype != np.uint8 or picture.ndim != 2 or picture.shape != a.shape:
            raise ValueError(
                f"evaluate: a, b and fused must be uint8 grey pictures [H, W] of one size, "
                f"got {name} of {picture.dtype} {picture.shape} beside a of {a.shape}; see rgb_to_gray"
            )
    stack, frame = pad_to_bucket(np.stack(list(pictures.values())))
    return dict(zip([m.name for m in metrics], evaluate_padded(stack, frame, metrics).tolist()))


def _evaluate_padded(stack: jax.Array, frame: Frame, metrics: tuple[Metric, ...] = TABLE_2) -> jax.Array:
    """The metrics of a padded triple `[3, H, W]` (source A, source B, fused), one number each.

    Jitted; compiled once per shape of `stack`, whatever the frame.
    """
    a, b, fused = stack
    return jnp.stack([m.function(a, b, fused, frame=frame) for m in metrics])


evaluate_padded = jax.jit(_evaluate_padded, static_argnames="metrics")

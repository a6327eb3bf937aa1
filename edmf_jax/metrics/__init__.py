"""Metrics of fused pictures: the eight of the paper's Table 2, what the field reports besides, and fidelity to a truth.

`evaluate(a, b, fused)` and `evaluate_to_truth(image, truth)` take 8-bit pictures
of any size and give a row of numbers.  Behind them every metric is a pure
function of planes `[..., H, W]` in 0…255, 8-bit or floating point, one number
per plane; its docstring has formula, range, direction, DOI and what becomes of
constant, black and identical pictures.  Where Table 2's toolbox has a slip, the
default follows it, so that numbers stay comparable, and `textbook=True` does not.
"""

from edmf_jax.metrics.buckets import bucket_size, pad_to_bucket
from edmf_jax.metrics.contrast import chen_blum_quality
from edmf_jax.metrics.exposure import mef_ms_ssim, mef_ssim
from edmf_jax.metrics.feature import feature_mutual_information
from edmf_jax.metrics.fidelity import (
    correlation_coefficient,
    psnr,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from edmf_jax.metrics.frames import Frame
from edmf_jax.metrics.gradient import average_gradient, qabf, spatial_frequency
from edmf_jax.metrics.gray import rgb_to_gray
from edmf_jax.metrics.information import entropy, mutual_information, normalized_mutual_information
from edmf_jax.metrics.phase import phase_congruency_quality
from edmf_jax.metrics.structure import ssim, yang_quality
from edmf_jax.metrics.table import (
    COLOR_TO_TRUTH,
    FURTHER,
    TABLE_2,
    TO_TRUTH,
    Metric,
    evaluate,
    evaluate_padded,
    evaluate_to_truth,
)
from edmf_jax.metrics.visual_information import vif, vifp

__all__ = [
    "COLOR_TO_TRUTH",
    "FURTHER",
    "TABLE_2",
    "TO_TRUTH",
    "Frame",
    "Metric",
    "average_gradient",
    "bucket_size",
    "chen_blum_quality",
    "correlation_coefficient",
    "entropy",
    "evaluate",
    "evaluate_padded",
    "evaluate_to_truth",
    "feature_mutual_information",
    "mef_ms_ssim",
    "mef_ssim",
    "mutual_information",
    "normalized_mutual_information",
    "pad_to_bucket",
    "phase_congruency_quality",
    "psnr",
    "qabf",
    "rgb_to_gray",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "sum_of_correlations_of_differences",
    "vif",
    "vifp",
    "yang_quality",
]

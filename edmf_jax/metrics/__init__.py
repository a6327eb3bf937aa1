"""Metrics of fused pictures: the eight of the paper's Table 2, others that papers report, and fidelity to a truth.

`evaluate(a, b, fused)` and `evaluate_to_truth(image, truth)` take 8-bit pictures of any size and return named numbers.
Behind them, each metric is a pure function of planes `[..., H, W]`, uint8 or float gray levels in 0…255, and returns
one float per plane; leading axes are batch axes.  Its docstring gives the formula, range, unit, direction, source, and
the values for equal, constant and black pictures.  Where the toolbox behind Table 2 deviates from a published
definition, the default follows the toolbox, to stay comparable; `textbook=True` gives the published definition.

In reading order:

- table: the metrics by name, and their values for pictures of any size;
- information, gradient, fidelity, structure, visual_information: Table 2's metrics and their relatives;
- contrast, phase, feature, exposure: Q_CB, Q_P, FMI and MEF-SSIM; truth: fidelity to a ground truth;
- windows, bands, fourier, congruency: windowed moments, sums in bands of rows, Fourier transforms, phase congruency.
"""

from edmf_jax.core.buckets import bucket_size, pad_to_bucket
from edmf_jax.core.color import rgb_to_gray
from edmf_jax.core.valid_size import ValidSize
from edmf_jax.metrics.contrast import chen_blum_quality
from edmf_jax.metrics.exposure import mef_ms_ssim, mef_ssim
from edmf_jax.metrics.feature import feature_mutual_information
from edmf_jax.metrics.fidelity import (
    correlation_coefficient,
    psnr,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from edmf_jax.metrics.gradient import average_gradient, qabf, spatial_frequency
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
    "Metric",
    "ValidSize",
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

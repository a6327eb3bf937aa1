"""Peak rates of devices from their makers' data sheets."""

from typing import NamedTuple


class Peak(NamedTuple):
    """Dense peak rates of one device."""

    tflops: float  # of the mode that float32 convolutions run in by default, 10¹² FLOP/s
    mode: str  # which mode that is
    gb_per_s: float  # memory bandwidth, 10⁹ bytes/s


# Dense rates, half of what is printed "with sparsity".  NVIDIA: the data sheets of H200, H100, A100, L4, L40S,
# T4, V100 (nvidia.com, data-center products).  TPU: cloud.google.com/tpu/docs, system architecture, per chip.
# Looked up again: A100 80GB, H100 PCIe, TPU v5e; the others are from memory, to be checked before a fraction is quoted.
PEAKS = {
    "H200": Peak(494.5, "TF32", 4800),
    "H100 PCIe": Peak(378, "TF32", 2000),
    "H100 NVL": Peak(417.5, "TF32", 3900),
    "H100": Peak(494.5, "TF32", 3350),  # SXM
    "A100-SXM4-80GB": Peak(156, "TF32", 2039),
    "A100 80GB PCIe": Peak(156, "TF32", 1935),
    "A100": Peak(156, "TF32", 1555),  # 40 GB
    "L40S": Peak(183, "TF32", 864),
    "L4": Peak(60, "TF32", 300),
    "T4": Peak(8.1, "FP32", 320),
    "V100": Peak(15.7, "FP32", 900),  # SXM2
    "TPU v4": Peak(275, "bf16", 1200),
    "TPU v5 lite": Peak(197, "bf16", 819),
    "TPU v5e": Peak(197, "bf16", 819),
    "TPU v5p": Peak(459, "bf16", 2765),
    "TPU v5": Peak(459, "bf16", 2765),  # the name that a v5p reports
    "TPU v6 lite": Peak(918, "bf16", 1640),
    "TPU v6e": Peak(918, "bf16", 1640),
}


def peak_of(device_kind: str) -> Peak | None:
    """The entry whose name is a part of `device_kind`, the longest one if there are several; None if there is none."""
    found = [name for name in PEAKS if name.lower() in device_kind.lower()]
    return PEAKS[max(found, key=len)] if found else None

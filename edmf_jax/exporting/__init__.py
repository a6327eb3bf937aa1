"""The network as one file that programs without this package run: StableHLO, ONNX, TFLite.

All three files hold the same function.  Inputs `a`, `b`: the two shots' Y planes, float32 `[batch, height, width]`
in [0, 1], of one shape, at least 16 × 16 px; output `fused`: the fused Y, float32 `[batch, height, width]` in
(−1, 1), not clipped, as `model.fuse_luma`.  Batch, height and width are dynamic.  The parameters are in the file,
and it computes in float32, whatever `model.dtype` the network was trained in.
"""

from edmf_jax.exporting.contract import LAYOUT
from edmf_jax.exporting.files import MODEL_FORMATS, save_model

__all__ = ["LAYOUT", "MODEL_FORMATS", "save_model"]

"""Exports the network as one file that runs without this package: StableHLO, ONNX or TFLite.

All three formats hold the same function, that of `core.model.fuse_luma`:

    inputs a, b     the two shots' Y planes, float32 [batch, height, width] in [0, 1], one shape, at least 16 × 16 px
    output fused    the fused Y plane, float32 [batch, height, width] in (−1, 1), not clipped

Batch, height and width are dynamic.  The file contains the parameters and computes in float32, whatever
`model.dtype` the network was trained in.

Read in this order: contract (names, layout, wiring), stablehlo, onnx_graph, tflite, files (writing).
"""

from edmf_jax.weights.exporting.contract import LAYOUT
from edmf_jax.weights.exporting.files import MODEL_FORMATS, save_model

__all__ = ["LAYOUT", "MODEL_FORMATS", "save_model"]

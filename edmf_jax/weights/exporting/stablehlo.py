"""The network as StableHLO, serialized by `jax.export`.  Running it needs JAX only:

    fused = jax.export.deserialize(open(FILE, "rb").read()).call(a, b)

The format stores no metadata except the function's name.  The smallest legal size is checked by JAX at the call.
JAX promises to read such a file with its releases of the next six months, so archive the weights folder or the ONNX
file instead.
"""

import jax
import jax.numpy as jnp

from edmf_jax.core.model import MIN_SIDE_PX, make_model
from edmf_jax.weights.exporting.contract import NAME, import_for_format
from edmf_jax.weights.store import Weights

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(weights: Weights) -> bytes:
    """The serialized `jax.export.Exported` of the function that `edmf_jax.weights.exporting` describes.

    It contains the program for each of `PLATFORMS`.

    Raises:
      UserError: flatbuffers is not installed.
    """
    import_for_format("flatbuffers", "stablehlo", "flatbuffers", "export")
    from jax import export  # not imported by `import jax`

    shape = export.symbolic_shape("batch, height, width",
                                  constraints=[f"height >= {MIN_SIDE_PX}", f"width >= {MIN_SIDE_PX}"])
    plane = jax.ShapeDtypeStruct(shape, jnp.float32)
    # By default GPUs and TPUs multiply float32 numbers with less than float32 precision.
    with jax.default_matmul_precision("highest"):
        return bytes(export.export(jax.jit(_function(weights)), platforms=PLATFORMS)(plane, plane).serialize())


def _function(weights: Weights):
    width = weights.config["model"]["width"]
    # `make_model` writes the convolutions in the form that runs fastest on each platform.
    cpu_model, other_model = (make_model(width, platform=name) for name in ("cpu", "tpu"))

    def apply(model):
        return lambda params, sources: model.apply({"params": params}, sources)

    def edmf_fuse_luma(a, b):
        # Not `fuse_luma`: its checks compare height with width, which symbolic sizes do not allow.
        return jax.lax.platform_dependent(jax.tree.map(jnp.asarray, weights.params), jnp.stack([a, b], axis=-1),
                                          cpu=apply(cpu_model), default=apply(other_model))

    edmf_fuse_luma.__name__ = NAME
    return edmf_fuse_luma

"""The network as StableHLO, serialised by `jax.export`: JAX alone runs it.

    fused = jax.export.deserialize(open(FILE, "rb").read()).call(a, b)

The format has no place for metadata but the function's name; JAX refuses sizes below the smallest when it is called.
JAX promises to read such a file for six months of its own releases: for keeping, take the weights or ONNX.
"""

import jax
import jax.numpy as jnp

from edmf_jax.exporting.contract import NAME, needed
from edmf_jax.model import MIN_SIDE_PX, make_model
from edmf_jax.weights import Weights

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(weights: Weights) -> bytes:
    """The serialised `jax.export.Exported` of the function of `edmf_jax.exporting`, for `PLATFORMS`.

    Raises:
      UserError: flatbuffers is not installed.
    """
    needed("flatbuffers", "stablehlo", "flatbuffers", "export")
    from jax import export  # not imported by `import jax`

    shape = export.symbolic_shape("batch, height, width",
                                  constraints=[f"height >= {MIN_SIDE_PX}", f"width >= {MIN_SIDE_PX}"])
    plane = jax.ShapeDtypeStruct(shape, jnp.float32)
    # By default a GPU or TPU multiplies float32 numbers at less than float32 precision.
    with jax.default_matmul_precision("highest"):
        return bytes(export.export(jax.jit(_function(weights)), platforms=PLATFORMS)(plane, plane).serialize())


def _function(weights: Weights):
    width = weights.config["model"]["width"]
    # Each platform's own form of the convolutions, see `make_model`.
    on_cpu, elsewhere = (make_model(width, platform=name) for name in ("cpu", "tpu"))

    def apply(model):
        return lambda params, sources: model.apply({"params": params}, sources)

    def edmf_fuse_luma(a, b):
        # Not `fuse_luma`, whose checks compare height with width: of symbolic sizes nobody knows which is less.
        return jax.lax.platform_dependent(jax.tree.map(jnp.asarray, weights.params), jnp.stack([a, b], axis=-1),
                                          cpu=apply(on_cpu), default=apply(elsewhere))

    edmf_fuse_luma.__name__ = NAME
    return edmf_fuse_luma

"""EDMF, the method of this package, with the weights that ship with it."""

from edmf_jax.fusion.tiling import fuse_levels
from edmf_jax.methods.base import MethodInfo, PlainFuser
from edmf_jax.weights.store import load_weights

INFO = MethodInfo(
    name="edmf", title="EDMF", paper="Li et al., Sensors 24", year=2024, doi="10.3390/s24227287",
    verified="trained here; docs/results.md has its scores beside the paper's",
    license="Apache-2.0; trained on pictures under CC BY 4.0",
    is_local=True, reach_px=24)


def load(weights: None = None, *, as_published: bool = False) -> PlainFuser:
    """The network with the shipped weights, on whole pictures."""
    shipped = load_weights(INFO.name)
    return PlainFuser(INFO.name, lambda a, b: fuse_levels(shipped.model, shipped.params, a, b))

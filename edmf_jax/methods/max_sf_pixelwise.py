"""Every pixel from the picture of larger local spatial frequency, without any check of the map."""

from edmf_jax.methods.base import MaskFuser, MethodInfo
from edmf_jax.methods.max_sf import sharper_mask

INFO = MethodInfo(
    name="max-sf-pixelwise", title="Max-SF, pixelwise", paper="after Li, Kwok, Wang, Information Fusion 2", year=2001,
    doi="10.1016/S1566-2535(01)00038-0", verified="equal to its definition, written with SciPy", is_local=True,
    reach_px=10)


def load(weights: None = None, *, as_published: bool = False) -> MaskFuser:
    """The method, ready to fuse; it has no weights, and no script of its authors to differ from."""
    return MaskFuser(INFO.name, sharper_mask)

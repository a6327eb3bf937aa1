"""From shots as a camera writes them to one picture: any number, any size, registered, brought to one exposure, fused.

Pure functions of arrays; files are the caller's.  In reading order: `options` (what is asked for and returned),
`pipeline` (how it all fits together), `shots` (reading and checking), `sketches`, `alignment` and `analysis` (the first
pass), `sensor` and `sensor_repair` (hot pixels), `focus_order` (near and far), `group` (the second pass), `tone` and
`exposure` (curves between exposures), `borders` (missing pixels), `sharpness` and `composite` (any number of shots in
one), `blend` or `network` with `response` (the result's pixels), `tiles`.
"""

from edmf_jax.fusion.stack.alignment import align_photos
from edmf_jax.fusion.stack.options import PhotoOptions, PhotoResult
from edmf_jax.fusion.stack.pipeline import fuse_parts, fuse_photos

__all__ = ["PhotoOptions", "PhotoResult", "align_photos", "fuse_parts", "fuse_photos"]

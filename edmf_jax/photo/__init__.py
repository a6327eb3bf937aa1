"""From shots as a camera gives them to one picture: registration, exposure, borders, any number, any size.

Pure functions of arrays; files are the caller's.  `fusing` says how it goes together.
"""

from edmf_jax.photo.alignment import align_photos
from edmf_jax.photo.fusing import fuse_photos
from edmf_jax.photo.options import PhotoOptions, PhotoResult

__all__ = ["PhotoOptions", "PhotoResult", "align_photos", "fuse_photos"]

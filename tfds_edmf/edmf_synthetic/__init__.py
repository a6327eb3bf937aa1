"""`edmf_synthetic`: rendered multi-focus pairs with exposure differences and ground truth.

Importing this package registers the builder with TFDS. Read in this order, the one in which a
pair is made:

    textures, strokes          surfaces; letters for printed ones
    objects, plants, ground    what stands in a scene, as color and coverage; the ground it stands on
    depths, scene              where the two shots focus, and the scene as layers at several distances
    lens                       renders the layers through a thin lens: two focused shots
    exposure                   from linear light to the 8-bit picture of a camera
    pair                       one pair with its ground truth and maps
    edmf_synthetic_dataset_builder   the TFDS builder
"""

from tfds_edmf.edmf_synthetic.edmf_synthetic_dataset_builder import Builder
from tfds_edmf.edmf_synthetic.exposure import expose, reexpose
from tfds_edmf.edmf_synthetic.pair import make_pair

__all__ = ["Builder", "expose", "make_pair", "reexpose"]

"""`edmf_synthetic`: multi-focus pairs with exposure differences and ground truth, made here.

Importing this registers the builder with TFDS. Read on in the order the data flows:
`textures` and `strokes` (surfaces) → `objects`, `plants`, `ground` → `depths`,
`scene` → `lens` (two focused shots) → `exposure` → `pair` → the builder.
"""

from tfds_edmf.edmf_synthetic.edmf_synthetic_dataset_builder import Builder
from tfds_edmf.edmf_synthetic.exposure import expose, reexpose
from tfds_edmf.edmf_synthetic.pair import make_pair

__all__ = ["Builder", "expose", "make_pair", "reexpose"]

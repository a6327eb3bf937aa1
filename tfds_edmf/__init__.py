"""The data sets of edmf-jax as TFDS builders: `import tfds_edmf; tfds.load("edmf", split="train")`.

Importing this package is what makes TFDS know the names in `BUILDERS`. It imports nothing
from `edmf_jax`, so the data sets can be used on their own.
"""

import importlib.util

try:
    # TFDS imports TensorFlow only when data is read, hours later in a bad case: ask now.
    if importlib.util.find_spec("tensorflow") is None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
    import tensorflow_datasets  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'tfds_edmf needs tensorflow and tensorflow-datasets ({error}): pip install "edmf-jax[train]"'
    ) from error

from tfds_edmf.edmf.edmf_dataset_builder import Builder as _Edmf
from tfds_edmf.edmf_synthetic.edmf_synthetic_dataset_builder import Builder as _EdmfSynthetic

BUILDERS = {cls.name: cls for cls in (_Edmf, _EdmfSynthetic)}
"""TFDS name -> builder class, for `tfds_edmf.build.build`."""

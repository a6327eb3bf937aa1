"""The data sets of edmf-jax as TFDS builders: `import tfds_edmf; tfds.load("edmf", split="train")`.

Importing this package registers the names in `BUILDERS` with TFDS. It imports nothing from
`edmf_jax`, so the data sets can be used on their own. Read in this order:

    build            prepares a data set: the call behind `edmf data build`
    sources, partial reading a folder or ZIP archive; incomplete copies
    exclusive        one process builds at a time, and removes what killed ones left
    info             the description that TFDS keeps with the data
    edmf/            the published EDMF pairs
    edmf_synthetic/  rendered pairs with ground truth, made without any download
    folders/         the base of the data sets below: the user's copy of a published folder
    lytro/, mffw/, mfi_whu/, betafusion/, road_mf/, image_pairs/
"""

import importlib.util

try:
    # TFDS imports TensorFlow only when data is read, possibly hours later, so test for it now.
    if importlib.util.find_spec("tensorflow") is None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
    import tensorflow_datasets  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'tfds_edmf needs tensorflow and tensorflow-datasets ({error}): pip install "edmf-jax[train]"'
    ) from error

from tfds_edmf.betafusion.betafusion_dataset_builder import Builder as _BetaFusion
from tfds_edmf.edmf.edmf_dataset_builder import Builder as _Edmf
from tfds_edmf.edmf_synthetic.edmf_synthetic_dataset_builder import Builder as _EdmfSynthetic
from tfds_edmf.image_pairs.image_pairs_dataset_builder import Builder as _ImagePairs
from tfds_edmf.lytro.lytro_dataset_builder import Builder as _Lytro
from tfds_edmf.mffw.mffw_dataset_builder import Builder as _Mffw
from tfds_edmf.mfi_whu.mfi_whu_dataset_builder import Builder as _MfiWhu
from tfds_edmf.road_mf.road_mf_dataset_builder import Builder as _RoadMf

_ALL = (_Edmf, _EdmfSynthetic, _Lytro, _Mffw, _MfiWhu, _BetaFusion, _RoadMf, _ImagePairs)
BUILDERS = {cls.name: cls for cls in _ALL}
"""TFDS name → builder class, for `tfds_edmf.build.build`."""

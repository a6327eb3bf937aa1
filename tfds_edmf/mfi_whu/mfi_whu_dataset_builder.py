"""TFDS builder of MFI-WHU (Zhang et al. 2021, https://doi.org/10.1016/j.inffus.2020.08.022)."""

from typing import ClassVar

from tfds_edmf.folders.builder import FolderBuilder, FolderConfig
from tfds_edmf.folders.layout import FolderLayout


class Builder(FolderBuilder):
    """MFI-WHU: 120 pairs made from sharp photographs by blurring a part of each, with the truth.

    Files: `source_1/1.jpg`, `source_2/1.jpg` and the sharp photograph `full_clear/1.jpg`, which
    becomes the feature `truth`. The three were saved as JPEG separately, so a perfect fusion of
    the sources is close to the truth, but not equal to it.

    Its web page says that the sharp photographs come from public data sets, and names neither
    these nor any terms: ask the authors before publishing any of it.
    """

    BUILDER_CONFIGS: ClassVar = [
        FolderConfig(
            name="pairs",
            description="The 120 pairs with the truth.",
            layout=FolderLayout(
                "MFI-WHU",
                {"a": "source_1/{n}.jpg", "b": "source_2/{n}.jpg", "truth": "full_clear/{n}.jpg"},
                published=120,
            ),
        )
    ]
    HOMEPAGE = "https://github.com/HaoZhang1018/MFI-WHU"
    CITATION = """@article{zhang2021mff,
  author = {Zhang, Hao and Le, Zhuliang and Shao, Zhenfeng and Xu, Han and Ma, Jiayi},
  title = {{MFF-GAN}: An unsupervised generative adversarial network with adaptive and gradient
    joint constraints for multi-focus image fusion},
  journal = {Information Fusion}, volume = {66}, pages = {40--53}, year = {2021},
  doi = {10.1016/j.inffus.2020.08.022}
}"""

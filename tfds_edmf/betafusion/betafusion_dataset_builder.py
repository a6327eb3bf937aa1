"""TFDS builder of BetaFusion (Liu et al. 2024, https://github.com/hbin-cqupt/BetaFusion)."""

from typing import ClassVar

from tfds_edmf.folders.builder import FolderBuilder, FolderConfig
from tfds_edmf.folders.layout import FolderLayout


class Builder(FolderBuilder):
    """BetaFusion: 20 registered pairs from a Sony ILCE6000, each with a focus mask.

    Files: `BetaFusion-01-A.jpg`, `BetaFusion-01-B.jpg` and the mask `BetaFusion-01-M.png`, which
    becomes the feature `mask`, one channel, with the published values. There is no ground truth.
    The raw shots that the authors offer elsewhere have other names and are not read.

    No terms of use were found with the data: ask the authors before publishing any of it.
    """

    BUILDER_CONFIGS: ClassVar = [
        FolderConfig(
            name="pairs",
            description="The 20 pairs with their focus masks.",
            layout=FolderLayout(
                "BetaFusion",
                {"a": "BetaFusion-{n}-A.jpg", "b": "BetaFusion-{n}-B.jpg", "mask": "BetaFusion-{n}-M.png"},
                published=20,
            ),
        )
    ]
    HOMEPAGE = "https://github.com/hbin-cqupt/BetaFusion"
    CITATION = """@inproceedings{liu2024focus,
  author = {Liu, Bo and Hu, Bin and Bi, Xiuli and Li, Weisheng and Xiao, Bin},
  title = {Focus Stacking with High Fidelity and Superior Visual Effects},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence}
}"""

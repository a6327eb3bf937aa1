"""BetaFusion (Liu et al., https://github.com/hbin-cqupt/BetaFusion), for TFDS."""

from typing import ClassVar

from tfds_edmf.folders.builder import Config, FolderBuilder
from tfds_edmf.folders.layout import Layout


class Builder(FolderBuilder):
    """BetaFusion: 20 registered pairs from a Sony ILCE6000, each with a focus mask.

    Files `BetaFusion-01-A.jpg`, `BetaFusion-01-B.jpg` and the mask `BetaFusion-01-M.png`, which
    is the feature `mask`, one channel, values as published. No ground truth. The raw shots that
    the authors offer elsewhere are named otherwise and not read.

    No terms of use were found with the data: ask the authors before publishing any of it.
    """

    BUILDER_CONFIGS: ClassVar = [
        Config(
            name="pairs",
            description="The 20 pairs with their focus masks.",
            layout=Layout(
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

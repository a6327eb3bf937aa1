"""TFDS builder of MFFW (Xu et al. 2020, https://arxiv.org/abs/2002.04780)."""

from typing import ClassVar

from tfds_edmf.folders.builder import FolderBuilder, FolderConfig
from tfds_edmf.folders.layout import FolderLayout


class Builder(FolderBuilder):
    """Multi-focus images in the wild: registered pairs and sets of 3 to 6 shots from the Internet.

    They show the defocus spread effect: the blur of a defocused foreground spreads over the
    background. Files: `MFFW2_image/1/image1.tif`, `image2.tif`; the larger sets are in
    `MFFW3_image/1/`. TFDS cannot decode TIFF, so the pictures are stored as PNG with the same
    pixels. The focus maps and reference pictures that exist for some of the sets are not read.

    The paper mentions 19 pairs. Which of them lie in which folder could not be verified with an
    original copy. So a copy counts as complete if each of its sets is complete and their numbers
    run from 1 without a gap; sets missing at the end are not detected.

    No terms of use were found with the data: ask the authors before publishing any of it.
    """

    BUILDER_CONFIGS: ClassVar = [
        FolderConfig(
            name="pairs",
            description="The pairs, in MFFW2_image.",
            layout=FolderLayout(
                "MFFW",
                {"a": "MFFW2_image/{n}/image1.tif", "b": "MFFW2_image/{n}/image2.tif"},
                gapless=True,
            ),
        ),
        FolderConfig(
            name="multi",
            description="The sets of 3 to 6 shots, in MFFW3_image.",
            layout=FolderLayout(
                "MFFW's larger sets",
                {"shots": "MFFW3_image/{n}/image{shot}.tif"},
                shots=range(3, 7),
                gapless=True,
            ),
        ),
    ]
    HOMEPAGE = "https://arxiv.org/abs/2002.04780"
    CITATION = """@article{xu2020mffw,
  author = {Xu, Shuang and Wei, Xiaoli and Zhang, Chunxia and Liu, Junmin and Zhang, Jiangshe},
  title = {{MFFW}: A new dataset for multi-focus image fusion},
  journal = {arXiv:2002.04780}, year = {2020}
}"""

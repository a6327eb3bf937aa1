"""TFDS builder of Lytro (Nejati et al. 2015, https://doi.org/10.1016/j.inffus.2014.10.004)."""

from typing import ClassVar

from tfds_edmf.folders.builder import FolderBuilder, FolderConfig
from tfds_edmf.folders.layout import FolderLayout


class Builder(FolderBuilder):
    """Lytro multi-focus: 20 pairs and 4 triples, 520×520 px, color, from a light field camera.

    Files: `lytro-01-A.jpg`, `lytro-01-B.jpg`; the triples `lytro-01-A.jpg` to `lytro-01-C.jpg` lie
    in a folder of their own, of any name. In some pairs A is the near shot, in others the far one.
    There is no ground truth. The shots of a set were refocused from one exposure, so they have the
    same brightness and are registered exactly.

    No terms of use were found with the data: ask the authors before publishing any of it.
    """

    BUILDER_CONFIGS: ClassVar = [
        FolderConfig(
            name="pairs",
            description="The 20 pairs.",
            layout=FolderLayout("Lytro", {"a": "lytro-{n}-A.jpg", "b": "lytro-{n}-B.jpg"}, published=20),
        ),
        FolderConfig(
            name="triples",
            description="The 4 sets of three shots.",
            layout=FolderLayout("Lytro's triples", {"shots": "lytro-{n}-{shot}.jpg"}, shots=range(3, 4), published=4),
        ),
    ]
    HOMEPAGE = "https://mansournejati.ece.iut.ac.ir/content/lytro-multi-focus-dataset"
    CITATION = """@article{nejati2015multi,
  author = {Nejati, Mansour and Samavi, Shadrokh and Shirani, Shahram},
  title = {Multi-focus image fusion using dictionary-based sparse representation},
  journal = {Information Fusion}, volume = {25}, pages = {72--84}, year = {2015},
  doi = {10.1016/j.inffus.2014.10.004}
}"""

"""TFDS builder of Road-MF (Li et al. 2024, https://arxiv.org/abs/2401.08357)."""

import os
from collections.abc import Mapping
from typing import ClassVar

from tfds_edmf.folders.builder import FolderBuilder, FolderConfig, digest
from tfds_edmf.folders.layout import FolderLayout
from tfds_edmf.sources import SourceError


class Builder(FolderBuilder):
    """Road-MF: pairs of road scenes, published with the fusion method SAMF.

    The published archive was not at hand when this was written, so its layout is not certain. The
    default is what the authors' own demo.m reads: 160 files in one folder, where `1.jpg` and
    `2.jpg` are the first pair, `3.jpg` and `4.jpg` the second. If the files of your copy have
    other names, describe them, for example `patterns={"a": "A/{n}.jpg", "b": "B/{n}.jpg"}`; "truth"
    and "mask" may be given, too (see `tfds_edmf.folders.patterns`). A copy counts as complete if
    every picture has its partner and, without `patterns`, the numbers have no gap; pairs missing
    at the end are not detected.

    No terms of use were found with the data: ask the authors before publishing any of it.
    """

    BUILDER_CONFIGS: ClassVar = [
        FolderConfig(
            name="pairs",
            description="Each two consecutive files are a pair, as in the authors' demo.",
            layout=FolderLayout(
                "Road-MF",
                {"a": "{2*n-1}.jpg", "b": "{2*n}.jpg"},
                gapless=True,
                hint="; if your copy is named otherwise, say how: --pattern-a 'A/{n}.jpg' --pattern-b 'B/{n}.jpg'",
            ),
        )
    ]
    HOMEPAGE = "https://github.com/ixilai/SAMF"
    CITATION = """@inproceedings{li2024samf,
  author = {Li, Xilai and Li, Xiaosong and Tan, Haishu and Li, Jinyang},
  title = {{SAMF}: Small-Area-Aware Multi-focus Image Fusion for Object Detection},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing}, year = {2024}
}"""

    def __init__(
        self,
        *,
        source: str | os.PathLike | None = None,
        patterns: Mapping[str, str | None] | None = None,
        config=None,
        **kwargs,
    ):
        given_config = config
        if patterns:
            if config not in (None, "pairs"):
                raise SourceError(f"config={config!r}: with patterns, road_mf names its config itself; leave it out")
            patterns = {role: text for role, text in patterns.items() if text}
            name = f"pairs-{digest(sorted(patterns.items()))}"
            config = FolderConfig(name=name, layout=FolderLayout("Road-MF", patterns))
        super().__init__(source=source, config=config, **kwargs)
        self._original_state |= {"config": given_config, "patterns": patterns}

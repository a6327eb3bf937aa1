"""TFDS builder for any folder of picture pairs, described by file name patterns."""

import os
import pathlib
import re
from collections.abc import Mapping

from tfds_edmf.folders.builder import FolderBuilder, FolderConfig, digest
from tfds_edmf.folders.layout import FolderLayout
from tfds_edmf.sources import SourceError


class Builder(FolderBuilder):
    """Your own folder of picture pairs.

    `source` is the folder or ZIP archive. `patterns` describes the file names (see
    `tfds_edmf.folders.patterns`), for example `{"a": "near/{id}.jpg", "b": "far/{id}.jpg"}`,
    optionally with "truth" and "mask". The pictures of a pair must have the same size.

    Each combination of source and patterns has a config of its own, `FOLDER-0123456789`, so the
    prepared data of different folders is never confused. `tfds_edmf.build.build` rebuilds data
    whose pictures have changed since.
    """

    LICENSE = "Your own pictures."

    def __init__(
        self,
        *,
        source: str | os.PathLike | None = None,
        patterns: Mapping[str, str | None] | None = None,
        config=None,
        **kwargs,
    ):
        if not source or not patterns:
            raise SourceError(
                f"image_pairs needs source and patterns, got source={source!r} and patterns={patterns!r}: for example "
                "--source DIR --pattern-a 'A/{id}.jpg' --pattern-b 'B/{id}.jpg'"
            )
        if config is not None:
            raise SourceError(f"config={config!r}: image_pairs names its config itself; leave it out")
        patterns = {role: text for role, text in patterns.items() if text}
        folder = pathlib.Path(source).expanduser().resolve()
        name = re.sub(r"\W+", "_", folder.stem, flags=re.ASCII).strip("_")[:40] or "pairs"
        own_config = FolderConfig(
            name=f"{name}-{digest(str(folder), sorted(patterns.items()))}",
            description=f"Pairs of {folder}: {patterns}.",
            layout=FolderLayout("your pairs", patterns),
        )
        super().__init__(source=source, config=own_config, **kwargs)
        self._original_state |= {"config": None, "patterns": patterns}

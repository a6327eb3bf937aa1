"""Any folder of picture pairs, by file name pattern, for TFDS."""

import os
import pathlib
import re
from collections.abc import Mapping

from tfds_edmf.folders.builder import Config, FolderBuilder, digest
from tfds_edmf.folders.layout import Layout


class Builder(FolderBuilder):
    """Your own folder of picture pairs.

    `patterns` says how the files are named (see `tfds_edmf.folders.patterns`), for example
    `{"a": "near/{id}.jpg", "b": "far/{id}.jpg"}`, with "truth" and "mask" if there are any;
    `source` is the folder or ZIP archive. The pictures of a pair must agree in size.

    Each source with its patterns has a config of its own, `FOLDER-0123456789`, so that the
    prepared data of different folders is never mistaken for each other. What was prepared
    before the pictures changed is built anew by `tfds_edmf.build.build`.
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
            raise ValueError(
                f"image_pairs needs source and patterns, got source={source!r} and patterns={patterns!r}: for example "
                "--source DIR --pattern-a 'A/{id}.jpg' --pattern-b 'B/{id}.jpg'"
            )
        if config is not None:
            raise ValueError(f"config={config!r}: image_pairs names its config itself; leave it out")
        patterns = {role: text for role, text in patterns.items() if text}
        folder = pathlib.Path(source).expanduser().resolve()
        name = re.sub(r"\W+", "_", folder.stem, flags=re.ASCII).strip("_")[:40] or "pairs"
        made = Config(
            name=f"{name}-{digest(str(folder), sorted(patterns.items()))}",
            description=f"Pairs of {folder}: {patterns}.",
            layout=Layout("your pairs", patterns),
        )
        super().__init__(source=source, config=made, **kwargs)
        self._original_state |= {"config": None, "patterns": patterns}

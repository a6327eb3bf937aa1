"""Runs OpenFocus, a program that the user installed, on one scene: StackMFF v3, v2, v1 and its other methods.

Repository Xinzhe99/OpenFocus, MIT.  It is called as its users call it: default settings, which match the exposure of
all pictures to the last one, and no registration, because the pictures of a data set are registered.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.images import read_image, write_image
from edmf_jax.methods.base import check_images

PREFIX = "openfocus:"
PROGRAM = "openfocus"


class OpenFocus:
    """A `Fuser` that calls the program for every scene."""

    def __init__(self, method: str):
        """`method` is a value of the program's own --method, such as "stackmffv3".

        Raises:
          MissingFileError: the program is not installed.
          UserError: it does not start, or has no such method.
        """
        program = shutil.which(PROGRAM)
        if program is None:
            raise MissingFileError(f"--method {PREFIX}{method}: the program `{PROGRAM}` is not on the PATH; install it "
                                   f"(pipx install {PROGRAM}), or name a folder of its pictures: folder:DIR")
        self._command = [program, "--method", method, "--align", "none"]
        self._name = f"{PREFIX}{method}"
        with tempfile.TemporaryDirectory() as folder:
            for name in ("a.png", "b.png"):
                write_image(Path(folder, name), np.zeros((64, 64, 3), np.uint8))
            try:
                self._run(Path(folder), ["a.png", "b.png"], "--dry-run")
            except UserError as error:
                raise UserError(f"--method {self._name}: {error}") from error

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture; see `methods.base.Fuser`.

        Raises:
          UserError: the program failed, or wrote no picture of that size.
        """
        check_images(images, self._name, most=None)
        with tempfile.TemporaryDirectory() as folder:
            names = [f"{number:04}.png" for number in range(len(images))]
            for name, image in zip(names, images):
                write_image(Path(folder, name), image)
            said = self._run(Path(folder), names)
            output = Path(folder, "fused.png")
            fused = read_image(output) if output.is_file() else None
        if fused is None or fused.shape[:2] != images[0].shape[:2] or fused.dtype != np.uint8:
            raise UserError(f"the program `{PROGRAM}` wrote no 8-bit picture of the sources' size ({said})")
        return _as_sources(fused, images[0].ndim)

    def _run(self, folder: Path, names: Sequence[str], *options: str) -> str:
        """Runs the program in `folder`, output fused.png; returns the last line it printed."""
        command = [*self._command, "--input", *names, "--output", "fused.png", *options]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        lines = [line.strip() for line in (result.stdout + "\n" + result.stderr).splitlines() if line.strip()]
        said = lines[-1][:300] if lines else "it printed nothing"
        if result.returncode:
            raise UserError(f"the program `{PROGRAM}` ended with code {result.returncode}: {said}")
        return said


def _as_sources(fused: np.ndarray, dimensions: int) -> np.ndarray:
    """The picture with as many dimensions as the sources; of gray ones the program may write three equal channels."""
    if dimensions == 2 and fused.ndim == 3:
        return fused[..., 0]
    return np.repeat(fused[..., None], 3, -1) if dimensions > fused.ndim else fused

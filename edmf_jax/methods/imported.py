"""Weights that the user imported: `edmf import METHOD FILE` puts them into a folder of the user's data.

    FOLDER/METHOD.npz    the plain arrays of `MethodInfo.tensors`, and `record`, JSON text: where they come from
"""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import replace_file
from edmf_jax.methods.base import MethodInfo, check_tensors
from edmf_jax.weights.tensorflow_checkpoint import checkpoint_files, is_checkpoint

FOLDER_VARIABLE = "EDMF_METHODS_DIR"
_RECORD = "record"


def weights_folder() -> Path:
    """Where imported weights lie: $EDMF_METHODS_DIR, or `methods` in this package's folder of the user's data."""
    import platformdirs

    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if folder else Path(platformdirs.user_data_dir("edmf-jax", appauthor=False)) / "methods"


def import_weights(method: ModuleType, path: str | os.PathLike) -> Path:
    """Reads the authors' file of a method and stores its arrays; earlier ones of that method are replaced.

    Args:
      method: the method's module, see `methods.base`.
      path: the file as its authors publish it; of a TensorFlow checkpoint its prefix, one of its files or its folder.

    Returns:
      The file that was written.

    Raises:
      MissingFileError: there is no such file.
      UserError: the method needs no weights; the file is not this method's, or damaged; the folder can't be written.
    """
    info: MethodInfo = method.INFO
    if not info.tensors:
        raise UserError(f"import {info.name}: this method needs no weights; use it with --method {info.name}")
    weights = method.read_weights(path)
    check_tensors(weights, info.tensors, str(path), hint=f"{info.title} needs {info.source}")
    arrays = {name: np.asarray(weights[name], np.float32) for name in info.tensors}
    record = {"method": info.name, "source": info.source, "license": info.license, "files": _digests(Path(path))}
    file = io.BytesIO()
    np.savez(file, **arrays, **{_RECORD: np.array(json.dumps(record))})
    target = _target(info.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, file.getvalue())
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error}); name another folder in the "
                        f"environment variable {FOLDER_VARIABLE}") from error
    return target


def weights_of(info: MethodInfo, weights: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """The arrays of `info.tensors`: those given, or else the imported ones; checked either way.

    Raises:
      MissingFileError: none were given and none imported; it says where to get them and how to import them.
      UserError: an array is missing, of another shape or not finite, or the imported file is damaged.
    """
    if weights is not None:
        check_tensors(weights, info.tensors, f"weights given to {info.name}")
        return {name: np.asarray(weights[name]) for name in info.tensors}
    if not is_imported(info.name):
        raise MissingFileError(f"--method {info.name} needs its authors' weights, which are not imported yet; get them "
                               f"({info.source}; license: {info.license}) and run `edmf import {info.name} FILE`")
    found = _read(info.name)
    check_tensors(found, info.tensors, str(_target(info.name)))
    return {name: found[name] for name in info.tensors}


def is_imported(name: str) -> bool:
    """Whether the user imported weights for the method of this name."""
    return _target(name).is_file()


def imported_record(name: str) -> dict[str, Any]:
    """Where imported weights come from: `source`, `license`, and `files`, name → sha256 of what was read; {} if none.

    Raises:
      UserError: the imported file is damaged.
    """
    return json.loads(str(_read(name)[_RECORD])) if is_imported(name) else {}


def _read(name: str) -> dict[str, np.ndarray]:
    """All arrays of an imported file, the record among them."""
    path = _target(name)
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in arrays.files}
        json.loads(str(found[_RECORD]))
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); run `edmf import {name} FILE` again with its "
                        "authors' file") from error
    return found


def _target(name: str) -> Path:
    return weights_folder() / f"{name}.npz"


def _digests(path: Path) -> dict[str, str]:
    """Name → SHA-256 of every file that was read."""
    files = checkpoint_files(path) if not path.is_file() or is_checkpoint(path) else [path]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

"""Parameters of the chooser in one file, `.npz`: arrays `stem/kernel`, `stem/bias`, … and how they were made."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edmf_jax.core import chooser_layout
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json
from edmf_jax.weights.params import flatten, unflatten

SHIPPED = "chooser"  # the name of the parameters that ship with the package
_ABOUT = "about"  # the entry that holds JSON text
_FILE = "params.npz"
MODELS = ("encode.onnx", "decode.onnx")  # of the shipped parameters, by `chooser_onnx`, in the same folder
_PRETRAINED = Path(__file__).parent.parent / "pretrained"


def find_chooser(name: str | os.PathLike) -> Path | None:
    """The file of a chooser's parameters that is meant: the shipped one, this file, or that in this folder.

    Args:
      name: `SHIPPED`, whatever lies in the working directory, or a path.

    Returns:
      None if it is neither; a weights folder of the network that fuses luma (`store`), for example.
    """
    if name == SHIPPED:
        return _PRETRAINED / SHIPPED / _FILE
    import zipfile  # fusions without a network need none

    for path in (Path(name), Path(name) / _FILE):
        try:
            with zipfile.ZipFile(path) as file:
                if f"{_ABOUT}.npy" in file.namelist():
                    return path
        except (OSError, zipfile.BadZipFile):
            continue
    return None


def shipped_models(path: str | os.PathLike) -> tuple[bytes, bytes] | None:
    """The ONNX graphs of `chooser_onnx` that lie beside the shipped parameters; None for any other file."""
    folder = _PRETRAINED / SHIPPED
    if Path(path) != folder / _FILE:
        return None
    encode, decode = ((folder / name).read_bytes() for name in MODELS)
    return encode, decode


def save_chooser(path: Path, params: Mapping, about: Mapping) -> None:
    """Writes parameters, completely or not at all.

    Args:
      path: of the file.
      params: `core.chooser.init_params`' arrays.
      about: JSON values: at least "size", one of `chooser_layout.SIZES`.

    Raises:
      UserError: the disk is full, or no permission.
    """
    buffer = io.BytesIO()
    text = np.frombuffer(to_json(about).encode(), np.uint8)
    np.savez(buffer, **{name: np.asarray(x, np.float32) for name, x in flatten(params).items()}, **{_ABOUT: text})
    try:
        replace_file(path, buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); free some space or choose another "
                        "folder") from error


def load_chooser(path: str | Path) -> tuple[chooser_layout.Params, dict]:
    """The parameters, NumPy arrays, and what `save_chooser` was told about them.

    Raises:
      MissingFileError: there is no such file.
      UserError: it is not such a file, or damaged.
    """
    import zipfile

    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file of a chooser's parameters")
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            about = json.loads(file[_ABOUT].tobytes())
            params = unflatten({name: file[name] for name in file.files if name != _ABOUT})
        widths = chooser_layout.SIZES[about["size"]]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a file of a chooser's parameters, or damaged ({error!r})") from error
    shapes = chooser_layout.kernel_shapes(widths)
    expected = {f"{name}/kernel": shape for name, shape in shapes.items()}
    expected |= {f"{name}/bias": shape[-1:] for name, shape in shapes.items()}
    found = flatten(params)
    for name in sorted(expected.keys() | found.keys()):
        if name not in expected or name not in found or found[name].shape != expected[name]:
            raise UserError(f"{path}: {name} is not as in a chooser of size {about['size']}; train or copy it again")
        if not np.isfinite(found[name]).all():
            raise UserError(f"{path}: {name} holds NaN or infinity; take an earlier file")
    return params, about

"""Writes an exported model: which files it may replace, and completely or not at all."""

import os
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import disk_errors, replace_file
from edmf_jax.weights.exporting.contract import NAME
from edmf_jax.weights.exporting.onnx_graph import to_onnx
from edmf_jax.weights.exporting.stablehlo import to_stablehlo
from edmf_jax.weights.exporting.tflite import to_tflite
from edmf_jax.weights.params import check_params
from edmf_jax.weights.store import Weights

_SERIALIZE = {"stablehlo": to_stablehlo, "onnx": to_onnx, "tflite": to_tflite}
MODEL_FORMATS = tuple(_SERIALIZE)
_LARGEST_EXPORT = 2**29  # [bytes]; the shipped network takes 0.6 MB, one sixteen times as wide 150 MB


def save_model(output: str | os.PathLike, weights: Weights, *, format: str, force: bool = False) -> None:
    """Writes the network with its parameters as one file; `edmf_jax.weights.exporting` describes inputs and output.

    Args:
      output: the file to write, with any suffix.
      weights: the network and its float32 parameters.
      force: replace an earlier export in any of these formats. Any other file is never replaced.
      format: "stablehlo" (for `jax.export.deserialize`; cpu, cuda and tpu), "onnx" (opset 17) or "tflite".

    Raises:
      UserError: the format is unknown; a package that it needs is missing; the parameters do not fit the config's
        network; `output` is there already and not to be replaced, or cannot be written.
      MissingFileError: the parent folder of `output` does not exist.
    """
    if format not in _SERIALIZE:
        raise UserError(f"format {format!r} is unknown; use one of {', '.join(MODEL_FORMATS)}")
    check_target(Path(output), force)
    check_params(weights.params, weights.config, weights.name)
    replace_file(Path(output), _SERIALIZE[format](weights))


def check_target(output: Path, force: bool) -> None:
    """Checks that a model can be written to `output`.

    Raises:
      UserError: it is a folder, or there is a file; with `force` one that `save_model` wrote is allowed.
      MissingFileError: its parent folder does not exist.
    """
    parent = Path(os.path.abspath(output)).parent
    if not parent.is_dir():
        raise MissingFileError(f"{output}: the folder {parent} does not exist; create it first")
    if output.is_dir():
        raise UserError(f"{output}: this is a folder, but a model is one file; name a new file")
    if output.exists():
        if not is_export(output):
            raise UserError(f"{output}: this file is not a model that `edmf export` wrote, and is not overwritten; "
                            "name a new file")
        if not force:
            raise UserError(f"{output}: there is a model already, which is not overwritten; name another file, or use "
                            "--force")


def is_export(path: Path) -> bool:
    """Whether a file is an export of ours, by its structure: it is read as each format, and its graph has our name."""
    with disk_errors(path):
        if not path.is_file() or path.stat().st_size > _LARGEST_EXPORT:
            return False
        data = path.read_bytes()
    return _is_tflite(data) or _is_onnx(data) or _is_stablehlo(data)


def _is_tflite(data: bytes) -> bool:
    # A flatbuffer with TensorFlow Lite's file identifier; the signature's key is one of its length-prefixed strings.
    key = NAME.encode()
    return data[4:8] == b"TFL3" and len(key).to_bytes(4, "little") + key + b"\0" in data


def _is_onnx(data: bytes) -> bool:
    try:
        import onnx

        return onnx.load_model_from_string(data).graph.name == NAME
    except Exception:  # the package is missing, or one of protobuf's and ONNX's many errors: not ours
        return False


def _is_stablehlo(data: bytes) -> bool:
    try:
        from jax import export

        return export.deserialize(bytearray(data)).fun_name == NAME
    except Exception:  # flatbuffers raises whatever reading foreign bytes leads to
        return False

"""The exported file: what it may replace, and that it is written whole or not at all."""

import os
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.exporting.contract import NAME
from edmf_jax.exporting.onnx_graph import to_onnx
from edmf_jax.exporting.stablehlo import to_stablehlo
from edmf_jax.exporting.tflite import to_tflite
from edmf_jax.files import disk_errors, replace_file
from edmf_jax.weights import Weights, check_params

_SERIALIZE = {"stablehlo": to_stablehlo, "onnx": to_onnx, "tflite": to_tflite}
MODEL_FORMATS = tuple(_SERIALIZE)


def save_model(output: str | os.PathLike, weights: Weights, *, format: str) -> None:
    """Writes the network with its parameters as one file; inputs and output are described in `edmf_jax.exporting`.

    Args:
      output: the file to write, of any suffix; an older export there, of any of these formats, is replaced,
        anything else is not.
      weights: the network and its parameters, float32.
      format: "stablehlo" (`jax.export.deserialize` reads it; for cpu, cuda and tpu), "onnx" (opset 17) or "tflite".

    Raises:
      UserError: an unknown format; a package that the format needs is missing; parameters that are not the
        config's network; `output` is a folder or something else than such a file, or can't be written.
      MissingFileError: the folder around `output` does not exist.
    """
    if format not in _SERIALIZE:
        raise UserError(f"format {format!r} is unknown; use one of {', '.join(MODEL_FORMATS)}")
    check_target(Path(output))
    check_params(weights.params, weights.config, weights.name)
    replace_file(Path(output), _SERIALIZE[format](weights))


def check_target(output: Path) -> None:
    """Refuses to write over what `save_model` did not write.

    Raises:
      UserError: a folder, or a file of something else.
      MissingFileError: the folder around it does not exist.
    """
    parent = Path(os.path.abspath(output)).parent
    if not parent.is_dir():
        raise MissingFileError(f"{output}: the folder {parent} does not exist; create it first")
    if output.is_dir():
        raise UserError(f"{output}: this is a folder, but a model is one file; name a new file")
    if output.exists():
        with disk_errors(output):
            ours = NAME.encode() in output.read_bytes()
        if not ours:
            raise UserError(f"{output}: this file is not a model that `edmf export` wrote, and is not overwritten; "
                            "name a new file")

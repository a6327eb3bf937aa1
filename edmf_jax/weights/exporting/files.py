"""Writes an exported model: which files it may replace, and completely or not at all."""

import os
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import disk_errors, replace_file
from edmf_jax.weights.exporting.contract import NAME
from edmf_jax.weights.exporting.onnx_graph import to_onnx
from edmf_jax.weights.exporting.stablehlo import to_stablehlo
from edmf_jax.weights.exporting.tflite import to_tflite
from edmf_jax.weights.store import Weights, check_params

_SERIALIZE = {"stablehlo": to_stablehlo, "onnx": to_onnx, "tflite": to_tflite}
MODEL_FORMATS = tuple(_SERIALIZE)


def save_model(output: str | os.PathLike, weights: Weights, *, format: str) -> None:
    """Writes the network with its parameters as one file; `edmf_jax.weights.exporting` describes inputs and output.

    Args:
      output: the file to write, with any suffix. An earlier export in any of these formats is replaced; any other
        file is not.
      weights: the network and its float32 parameters.
      format: "stablehlo" (for `jax.export.deserialize`; cpu, cuda and tpu), "onnx" (opset 17) or "tflite".

    Raises:
      UserError: the format is unknown; a package that it needs is missing; the parameters do not fit the config's
        network; `output` is a folder or another file, or cannot be written.
      MissingFileError: the parent folder of `output` does not exist.
    """
    if format not in _SERIALIZE:
        raise UserError(f"format {format!r} is unknown; use one of {', '.join(MODEL_FORMATS)}")
    check_target(Path(output))
    check_params(weights.params, weights.config, weights.name)
    replace_file(Path(output), _SERIALIZE[format](weights))


def check_target(output: Path) -> None:
    """Raises unless `output` is new or a file that `save_model` wrote.

    Raises:
      UserError: it is a folder or another file.
      MissingFileError: its parent folder does not exist.
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

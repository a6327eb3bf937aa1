"""The weights that MUFusion's authors publish, a PyTorch file, as weights of this package.

Source: repository AWCXV/MUFusion, `multi-focus/models/Final.model`, MIT license.
"""

import hashlib
import os
import re
from pathlib import Path

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.weights.params import check_params, unflatten
from edmf_jax.weights.store import Weights
from edmf_jax.weights.torch_file import read_torch

MUFUSION_WIDTH = 32
_KEY = re.compile(r"(conv\d+)\.1\.(weight|bias)")
_PUBLISHED = "the published one is multi-focus/models/Final.model of the repository AWCXV/MUFusion"


def import_mufusion(path: str | os.PathLike) -> Weights:
    """Reads the file that MUFusion's authors publish: float32, kernels as HWIO, `model.width` 32.

    Raises:
      MissingFileError: there is no such file.
      UserError: not a PyTorch file, damaged, another network, or a pickle that names anything but tensors (see
        `torch_file.read_torch`).
    """
    path = Path(path)
    flat = {}
    for key, tensor in read_torch(path, hint=_PUBLISHED).items():
        match = _KEY.fullmatch(key)
        if match is None or tensor.dtype.kind != "f":
            raise UserError(f"{path}: {key!r} ({tensor.dtype}) is not a tensor of MUFusion's network; {_PUBLISHED}")
        layer, kind = match.groups()
        array = tensor.transpose(2, 3, 1, 0) if kind == "weight" and tensor.ndim == 4 else tensor  # OIHW → HWIO
        flat[f"{layer}/{'kernel' if kind == 'weight' else 'bias'}"] = np.ascontiguousarray(array, np.float32)
    config = {"model": {"width": MUFUSION_WIDTH, "dtype": "float32"}}
    params = unflatten(flat)
    try:
        check_params(params, config, path.name)
    except UserError as error:
        raise UserError(f"{path}: another network than MUFusion's for multi-focus ({str(error).split('; ')[0]}); "
                        f"{_PUBLISHED}") from error
    provenance = {"source": "MUFusion (Cheng, Xu, Wu, Information Fusion 92, 2023), repository AWCXV/MUFusion",
                  "license": "MIT", "file": path.name, "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Weights(params, config, str(path), provenance=provenance)

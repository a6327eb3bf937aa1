"""Parameters as arrays: flat and nested names, their checksum, and whether they are those of a network."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from edmf_jax.errors import UserError

HOW_TO_GET_WEIGHTS = ("get some with `edmf export --workdir W --format numpy -o DIR` after a training, or with "
                      "`edmf import-mufusion FILE.model -o DIR` from the file that MUFusion's authors publish")


def flatten(params: Mapping[str, Mapping]) -> dict[str, Any]:
    """`{"conv1": {"kernel": …}}` → `{"conv1/kernel": …}`, sorted by key."""
    flat = {f"{layer}/{leaf}": value for layer, leaves in params.items() for leaf, value in leaves.items()}
    return dict(sorted(flat.items()))


def unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The inverse of `flatten`; also accepts an open `.npz` file."""
    params: dict[str, dict[str, np.ndarray]] = {}
    for key in flat:
        layer, _, leaf = key.partition("/")
        params.setdefault(layer, {})[leaf] = flat[key]
    return params


def params_sha256(params: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """SHA-256 over the name, shape, dtype and little-endian bytes of every array, sorted by name."""
    digest = hashlib.sha256()
    for key, array in flatten(params).items():
        little = np.asarray(array, np.asarray(array).dtype.newbyteorder("<"))
        digest.update(f"{key} {little.shape} {little.dtype.str}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def check_params(params: Mapping[str, Mapping[str, np.ndarray]], config: Mapping, name: str) -> None:
    """Checks that the arrays are those of the network that `config` describes.

    Args:
      params: as in `Weights`.
      config: the training config; `model.width` and `model.dtype` are read.
      name: what an error message calls these weights.

    Raises:
      UserError: `config` describes no network; a name, shape or dtype differs from the network's; a value is NaN or
        infinite.
    """
    import jax

    from edmf_jax.core.model import init_params, make_model

    try:
        width, dtype = config["model"]["width"], config["model"]["dtype"]
        abstract = jax.eval_shape(lambda key: init_params(make_model(width, dtype), key), jax.random.key(0))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"weights {name}: the config's `model` is not one of this package ({error!r}); "
                        "export the weights again") from error
    expected, found = flatten(abstract), flatten(params)
    for key in sorted(expected.keys() ^ found.keys()):
        state = "lacks" if key in expected else "has an unknown"
        raise UserError(f"weights {name}: it {state} array {key!r}, so it is not of this package; {HOW_TO_GET_WEIGHTS}")
    for key, array in found.items():
        if array.shape != expected[key].shape or array.dtype != np.float32:
            raise UserError(f"weights {name}: {key} is {array.dtype} {array.shape}, but a network of model.width="
                            f"{width} has float32 {expected[key].shape}; export the weights again")
        if not np.isfinite(array).all():
            raise UserError(f"weights {name}: {key} holds NaN or infinity; export an earlier step")

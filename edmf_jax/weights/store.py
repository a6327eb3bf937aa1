"""Weights folders: trained parameters as `edmf export` writes them and `edmf fuse --weights` reads them.

    DIR/config.json     training config, version, provenance, checksums
    DIR/params.npz      format "numpy": arrays `conv1/kernel` (HWIO), `conv1/bias`, …
    DIR/params/         format "orbax": the same arrays as an orbax checkpoint

Both formats load as plain NumPy arrays, so they work on any number of devices.
The weights that ship with the package are folders of the same form, `edmf_jax/pretrained/NAME/`.
"""

import dataclasses
import hashlib
import io
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import put_back, replaced_directory
from edmf_jax.io.json_text import to_json
from edmf_jax.weights import orbax_params
from edmf_jax.weights.params import HOW_TO_GET_WEIGHTS, check_params, flatten, params_sha256, unflatten

if TYPE_CHECKING:  # JAX is imported where a network is needed: most fusions need none
    from edmf_jax.core.model import FusionNet

WEIGHTS_FORMATS = ("numpy", "orbax")
FORMAT_VERSION = 1
_CONFIG, _NPZ, _ORBAX = "config.json", "params.npz", "params"
_PRETRAINED = Path(__file__).parent.parent / "pretrained"


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters with their configuration and origin; made by `load_weights` and `import_mufusion`.

    Attributes:
      params: `{"conv1": {"kernel": HWIO, "bias": [O]}, …}`, float32 NumPy arrays.
      config: the training config as JSON values; at least `{"model": {"width": …, "dtype": …}}`.
      name: the folder, file or shipped name they come from, for error messages.
      version: the version of edmf-jax that wrote them.
      provenance: how they were made, as JSON values: source, step, license, … No key is required.
    """

    params: dict[str, dict[str, np.ndarray]]
    config: dict[str, Any]
    name: str
    version: str = ""
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> "FusionNet":
        """The network that these parameters belong to."""
        from edmf_jax.core.model import make_model

        return make_model(self.config["model"]["width"], self.config["model"]["dtype"])


def save_weights(directory: str | os.PathLike, params: Mapping, config: Mapping, *, format: str = "numpy",
                 provenance: Mapping | None = None, force: bool = False) -> None:
    """Writes a weights folder, completely or not at all.

    Args:
      directory: the folder to create; an empty one may be there.
      params: the network's parameters, float32, NumPy or JAX arrays.
      config: the training config as JSON values; at least `model.width` and `model.dtype`.
      format: "numpy" or "orbax".
      provenance: how the parameters were made, as JSON values.
      force: replace a weights folder that is there. A folder that holds anything else is never replaced.

    Raises:
      UserError: the format is unknown; the parameters do not fit the config's network; `directory` is there already
        and not to be replaced; no space or no permission.
      MissingFileError: the parent folder does not exist.
    """
    directory = Path(os.path.abspath(directory))
    if format not in WEIGHTS_FORMATS:
        raise UserError(f"format {format!r} is unknown; use one of {', '.join(WEIGHTS_FORMATS)}")
    params = unflatten({key: np.asarray(array) for key, array in flatten(params).items()})
    check_params(params, config, str(directory))
    check_target(directory, force)
    record = {"format_version": FORMAT_VERSION, "format": format, "version": _package_version(),
              "sha256": params_sha256(params), "provenance": dict(provenance or {}), "config": dict(config)}
    try:
        with replaced_directory(directory) as temporary:
            if format == "numpy":
                np.savez(temporary / _NPZ, **flatten(params))
            else:
                orbax_params.save(temporary / _ORBAX, params)
            record["files"] = _file_digests(temporary)
            (temporary / _CONFIG).write_text(to_json(record), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{directory}: cannot be written ({error.strerror or error}); free some space or choose "
                        "another folder") from error


def load_weights(directory: str | os.PathLike) -> Weights:
    """Loads a weights folder that `save_weights` wrote, in either format, or shipped weights by their name.

    A folder of that name in the working directory takes precedence over shipped weights.

    Raises:
      MissingFileError: neither a folder nor a shipped name, or a file is missing from the folder.
      UserError: not a weights folder, written by a newer version, damaged, or another network than this package's.
    """
    path = Path(directory)
    put_back(path.absolute())
    if not path.exists():
        if str(directory) == path.name:
            return load_pretrained(path.name)
        raise MissingFileError(f"weights {directory}: no such folder; {HOW_TO_GET_WEIGHTS}")
    return _load(path, str(directory))


def load_pretrained(name: str) -> Weights:
    """Loads weights that ship with the package, by name.

    Raises:
      MissingFileError: no shipped weights have that name.
    """
    shipped = sorted(folder.parent.name for folder in _PRETRAINED.glob(f"*/{_CONFIG}"))
    if name == "chooser":
        raise UserError("weights 'chooser': a network that chooses among shots, for `edmf fuse` and `edmf_jax.fuse` "
                        f"alone; name one that fuses luma here ({', '.join(shipped)})")
    if name not in shipped:
        raise MissingFileError(f"weights {name!r}: neither a folder here nor weights that ship with this version "
                               f"({', '.join(shipped) or 'none do yet'}); {HOW_TO_GET_WEIGHTS}")
    return _load(_PRETRAINED / name, name)


def _load(directory: Path, name: str) -> Weights:
    import zipfile  # fusions without a network need none

    record = _read_record(directory, name)
    for file, expected in record["files"].items():
        if not (directory / file).is_file():
            raise MissingFileError(f"weights {name}: {file} is missing; export or copy the folder again")
        if _sha256(directory / file) != expected:
            raise UserError(f"weights {name}: {file} is damaged (its sha256 is not the one in {_CONFIG}); "
                            "export or copy the folder again")
    try:
        if record["format"] == "numpy":
            with np.load(io.BytesIO((directory / _NPZ).read_bytes()), allow_pickle=False) as arrays:
                params = unflatten(arrays)
        else:
            params = orbax_params.load(directory / _ORBAX)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"weights {name}: the parameters cannot be read ({type(error).__name__}); export or copy the "
                        "folder again") from error
    check_params(params, record["config"], name)
    if params_sha256(params) != record["sha256"]:
        raise UserError(f"weights {name}: the parameters do not have the sha256 that {_CONFIG} gives; export or copy "
                        "the folder again")
    return Weights(params, record["config"], name, record["version"], record["provenance"])


def _read_record(directory: Path, name: str) -> dict[str, Any]:
    """Reads `config.json` and checks that it has the fields that `save_weights` writes, with their types."""
    if not directory.is_dir():
        raise UserError(f"weights {name}: this is a file, a folder is needed; {HOW_TO_GET_WEIGHTS}")
    try:
        record = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
        if record["format_version"] > FORMAT_VERSION:
            raise UserError(f"weights {name}: written by a newer edmf-jax ({record['version']}); upgrade this one "
                            f"({_package_version()})")
        types = {"format": str, "version": str, "sha256": str, "files": dict, "provenance": dict, "config": dict}
        wrong = [field for field, expected in types.items() if not isinstance(record[field], expected)]
        if wrong or record["format"] not in WEIGHTS_FORMATS:
            raise KeyError(*wrong or ["format"])
        return record
    except FileNotFoundError as error:
        raise MissingFileError(f"weights {name}: no {_CONFIG} in it, so it is not a weights folder; "
                               f"{HOW_TO_GET_WEIGHTS}") from error
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"weights {name}: {_CONFIG} is damaged or not of this package ({type(error).__name__}: "
                        f"{error}); export or copy the folder again") from error


def check_target(directory: Path, force: bool) -> None:
    """Checks that a weights folder can be written; call it before long work too.

    Raises:
      UserError: `directory` is a file, or a folder that holds something; with `force` a weights folder is allowed.
      MissingFileError: the parent folder does not exist.
    """
    put_back(directory)
    if not directory.parent.is_dir():
        raise MissingFileError(f"{directory}: the folder {directory.parent} does not exist; create it first")
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"{directory}: this is a file; name a new folder")
    entries = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}
    if any(directory.iterdir()):
        try:
            # What the record does not name, somebody else put there.
            foreign = entries - {_CONFIG} - _read_record(directory, str(directory))["files"].keys()
        except UserError:
            foreign = entries or {entry.name for entry in directory.iterdir()}
        if foreign:
            raise UserError(f"{directory}: this folder holds something else than weights ({min(foreign)}), which is "
                            "not overwritten; name a new folder")
        if not force:
            raise UserError(f"{directory}: there are weights in it already, which are not overwritten; name another "
                            "folder, or use --force")


def _file_digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _package_version() -> str:
    from importlib import metadata

    try:
        return metadata.version("edmf-jax")
    except metadata.PackageNotFoundError:  # running from a checkout that is not installed
        return "unknown"

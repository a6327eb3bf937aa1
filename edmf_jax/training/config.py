"""Reads a configuration file, applies overrides, and checks all values before any long work starts."""

import difflib
import json
import re
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from edmf_jax.core.focus import ACTIVITIES
from edmf_jax.core.losses import RATIOS
from edmf_jax.core.model import PRECISIONS
from edmf_jax.errors import UserError


def find_config(name: str) -> Path:
    """A configuration file by its path; those of the package (`edmf.py`, `demo.py`, …) also by their name alone.

    Raises:
      UserError: there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path
    package = Path(__file__).parent.parent
    # An installed package contains the files; in a checkout they are beside it.
    for folder in (package / "configs", package.parent / "configs"):
        shipped = folder / path.with_suffix(".py").name
        if path.parent.name in ("", "configs") and not path.is_absolute() and shipped.is_file():
            return shipped
    raise UserError(f"--config={name}: there is no such file; try --config=configs/edmf.py")


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The configuration in file `name`, changed by overrides like `--config.train.batch=8`.

    Raises:
      UserError: no such file, no such field (the message suggests the nearest), or a value of another type.
    """
    config = read_config(find_config(name))
    for text in overrides:
        section, field, value = _parse_override(text, config)
        section[field] = value
    return config


def read_config(path: Path) -> ConfigDict:
    """Runs a configuration file and returns what its `get_config()` returns.

    Raises:
      UserError: the file can't be run or defines no `get_config`.
    """
    try:
        return runpy.run_path(str(path))["get_config"]()
    except KeyError as error:
        raise UserError(f"--config={path}: the file defines no function get_config()") from error
    except Exception as error:
        raise UserError(f"--config={path}: the file can't be run: {type(error).__name__}: {error}") from error


def field_names(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """The dotted names of all fields: `train.batch`, …"""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from field_names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _parse_override(text: str, config: ConfigDict) -> tuple[ConfigDict, str, object]:
    """Splits `--config.train.batch=8` into the section, the field's name, and the value in the field's type."""
    match = re.fullmatch(r"--config\.([\w.]+)=(.*)", text, re.DOTALL)
    if not match:
        raise UserError(f"{text!r} is not understood; fields are set like --config.train.batch=8")
    name, fields = match[1], list(field_names(config))
    if name not in fields:
        near = difflib.get_close_matches(name, fields, 1, cutoff=0.3)
        leaf = [f for f in fields if f.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
        hint = (leaf or near or ["train.batch"])[0]
        raise UserError(f"{text}: the configuration has no field {name!r}; did you mean {hint!r}?")
    *path, field = name.split(".")
    section = config
    for part in path:
        section = section[part]
    kind = type(section[field])
    try:
        return section, field, _READERS[kind](match[2])
    except (KeyError, ValueError) as error:
        raise UserError(f"{text}: {name} takes a value of type {kind.__name__}, like {section[field]!r}") from error


def _read_numbers(text: str) -> tuple:
    """(0.5, 2) of "(0.5, 2)", "0.5, 2" or "0.5,2"."""
    return tuple(float(word) if set(word) & set(".eE") else int(word)
                 for word in (part.strip() for part in text.strip().strip("()").split(",")) if word)


# Type of a field → how its text is read.  Fields of other types can't be set from the command line.
_READERS = {int: int, float: float, str: str, tuple: _read_numbers,
            bool: lambda word: {"true": True, "1": True, "false": False, "0": False}[word.lower()]}


def check_config(config: ConfigDict) -> None:
    """Checks every value before any data is read.

    Raises:
      UserError: a value is not possible, or two do not fit each other.
    """
    for name, is_possible, rule in _rules(config):
        if not is_possible:
            *section, field = name.split(".")
            value = config[section[0]][field] if section else config[field]
            raise UserError(f"{name}={value!r}: {rule}")


def _rules(config: ConfigDict) -> Iterator[tuple[str, bool, str]]:
    """Field, whether its value is possible, and the rule it breaks if not; in the order in which they are checked."""
    yield "seed", config.seed >= 0, "must not be negative"
    yield from _data_and_memory_rules(config)
    yield from _loss_rules(config)
    yield from _training_rules(config)


def _data_and_memory_rules(config: ConfigDict) -> Iterator[tuple[str, bool, str]]:
    window_px, patch_px, memory = config.focus.window_px, config.data.patch_px, config.memory
    yield "data.patch_px", patch_px >= 16, "the network takes patches of at least 16 px"
    yield "focus.window_px", window_px % 2 == 1 and window_px > 0, "must be odd and positive"
    yield "focus.window_px", window_px // 2 < patch_px, f"half of it must be less than data.patch_px={patch_px}"
    kinds = ("auto", "images", "host", "snapshots")
    yield "memory.kind", memory.kind in kinds, "must be auto, images, host or snapshots"
    yield "memory.admission", memory.admission in ("sharpest", "latest"), "must be sharpest or latest"
    yield "memory.first_epoch", memory.first_epoch >= 1, "epochs are counted from 1"
    yield "memory.slots", memory.slots >= 1, "at least one epoch must be remembered"


def _loss_rules(config: ConfigDict) -> Iterator[tuple[str, bool, str]]:
    loss = config.loss
    yield "focus.activity", config.focus.activity in ACTIVITIES, f"must be one of {', '.join(ACTIVITIES)}"
    yield "loss.ratios", loss.ratios in RATIOS, f"must be one of {', '.join(RATIOS)}"
    yield "loss.exposure_share", 0 <= loss.exposure_share <= 1, "must be from 0 to 1"
    for field in ("detail_gain", "detail_floor", "blend_exponent"):
        yield f"loss.{field}", loss[field] >= 0, "must not be negative"
    yield "loss.blend_floor", loss.blend_floor > 0, "must be positive"


def _training_rules(config: ConfigDict) -> Iterator[tuple[str, bool, str]]:
    train, checkpoint = config.train, config.checkpoint
    for field in ("epochs", "log_every_steps"):
        yield f"train.{field}", train[field] >= 1, "must be at least 1"
    yield "model.width", config.model.width >= 1, "must be at least 1"
    yield "train.learning_rate", train.learning_rate > 0, "must be positive"
    for field in ("steps_per_call", "warmup_steps", "decay_epochs"):
        yield f"train.{field}", train[field] >= 0, "must not be negative"
    yield "train.precision", train.precision in PRECISIONS, f"must be one of {', '.join(PRECISIONS)}"
    ratio = train.diverged_ratio
    yield "train.diverged_ratio", ratio == 0 or ratio > 1, "must be 0 (no limit) or more than 1"
    yield "checkpoint.keep_last", checkpoint.keep_last >= 1, "at least one checkpoint must be kept"
    yield "checkpoint.keep_best", checkpoint.keep_best >= 0, "must not be negative"
    yield "checkpoint.every_steps", checkpoint.every_steps >= 0, "must not be negative"
    yield "model.dtype", config.model.dtype in ("float32", "bfloat16"), 'must be "float32" or "bfloat16"'


def as_stored(config: ConfigDict) -> dict:
    """The configuration as plain values, sorted, as `run.json` stores it."""
    return json.loads(config.to_json_best_effort(sort_keys=True))


def flat_fields(tree: dict, prefix: str = "") -> dict:
    """`{"train": {"batch": 8}}` → `{"train.batch": 8}`."""
    fields = {}
    for key, value in tree.items():
        fields.update(flat_fields(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return fields


def differences(config: ConfigDict, stored: dict) -> list[str]:
    """The fields in which `config` differs from a stored one, as `name (1 here, 2 there)`.

    A field that the stored configuration lacks was not there when it was written.  It then has its default of
    configs/edmf.py, where a new field's default keeps what runs did before (a rule for whoever adds a field).
    """
    mine, theirs = flat_fields(as_stored(config)), flat_fields(stored)
    defaults = flat_fields(as_stored(read_config(find_config("edmf.py"))))
    theirs = {**{name: defaults[name] for name in mine if name in defaults}, **theirs}
    return [
        f"{name} ({mine.get(name)!r} here, {theirs.get(name)!r} there)"
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name)
    ]

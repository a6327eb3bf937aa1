"""Reading a configuration file and checking it before anything long begins."""

import difflib
import json
import re
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from edmf_jax.errors import UserError
from edmf_jax.focus import ACTIVITIES
from edmf_jax.losses import RATIOS


def find_config(name: str) -> Path:
    """A configuration file by path; `edmf.py`, `demo.py`, … are also found without one.

    Raises:
      UserError: there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path
    package = Path(__file__).parent
    # In an installed package the files lie in it, in a checkout beside it.
    for folder in (package / "configs", package.parent / "configs"):
        own = folder / path.with_suffix(".py").name
        if path.parent.name in ("", "configs") and not path.is_absolute() and own.is_file():
            return own
    raise UserError(f"--config={name}: there is no such file; try --config=configs/edmf.py")


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The configuration in a file, with overrides like `--config.train.batch=8`.

    Raises:
      UserError: no such file or field (the nearest name is given), or a value of another type.
    """
    config = read_config(find_config(name))
    for text in overrides:
        section, field, value = _parse_override(text, config)
        section[field] = value
    return config


def read_config(path: Path) -> ConfigDict:
    """`get_config()` of a file.

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
    """Every field, dotted: `train.batch`, …"""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from field_names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _parse_override(text: str, config: ConfigDict) -> tuple[ConfigDict, str, object]:
    """`--config.train.batch=8` → the section, the field's name and the value in the field's type."""
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


# Fields are numbers, words and switches; a type that is not here can't be set from the command line.
_READERS = {int: int, float: float, str: str,
            bool: lambda word: {"true": True, "1": True, "false": False, "0": False}[word.lower()]}


def check_config(config: ConfigDict) -> None:
    """Raises UserError for values that can't work together, before any data is read."""

    def need(true: bool, name: str, rule: str):
        if not true:
            section, field = name.split(".")
            raise UserError(f"{name}={config[section][field]!r}: {rule}")

    if config.seed < 0:
        raise UserError(f"seed={config.seed}: must not be negative")
    need(config.data.patch_px >= 16, "data.patch_px", "the network takes patches of at least 16 px")
    window = config.focus.window_px
    need(window % 2 == 1 and window > 0, "focus.window_px", "must be odd and positive")
    need(window // 2 < config.data.patch_px, "focus.window_px",
         f"half of it must be less than data.patch_px={config.data.patch_px}")
    need(config.memory.kind in ("auto", "images", "host", "snapshots"), "memory.kind",
         "must be auto, images, host or snapshots")
    need(config.memory.admission in ("sharpest", "latest"), "memory.admission", "must be sharpest or latest")
    need(config.memory.first_epoch >= 1, "memory.first_epoch", "epochs are counted from 1")
    need(config.focus.activity in ACTIVITIES, "focus.activity", f"must be one of {', '.join(ACTIVITIES)}")
    need(config.loss.ratios in RATIOS, "loss.ratios", f"must be one of {', '.join(RATIOS)}")
    need(0 <= config.loss.exposure_share <= 1, "loss.exposure_share", "must be from 0 to 1")
    for name in ("loss.detail_gain", "loss.detail_floor", "loss.blend_exponent"):
        section, field = name.split(".")
        need(config[section][field] >= 0, name, "must not be negative")
    need(config.loss.blend_floor > 0, "loss.blend_floor", "must be positive")
    need(config.memory.slots >= 1, "memory.slots", "at least one epoch must be remembered")
    for name in ("train.epochs", "train.log_every_steps", "model.width"):
        section, field = name.split(".")
        need(config[section][field] >= 1, name, "must be at least 1")
    need(config.train.learning_rate > 0, "train.learning_rate", "must be positive")
    for name in ("train.steps_per_call", "train.warmup_steps", "train.decay_epochs"):
        section, field = name.split(".")
        need(config[section][field] >= 0, name, "must not be negative")
    need(config.train.diverged_ratio == 0 or config.train.diverged_ratio > 1, "train.diverged_ratio",
         "must be 0 (no limit) or more than 1")
    need(config.checkpoint.keep_last >= 1, "checkpoint.keep_last", "at least one checkpoint must be kept")
    need(config.checkpoint.keep_best >= 0, "checkpoint.keep_best", "must not be negative")
    need(config.checkpoint.every_steps >= 0, "checkpoint.every_steps", "must not be negative")
    need(config.model.dtype in ("float32", "bfloat16"), "model.dtype", 'must be "float32" or "bfloat16"')


def to_json(config: ConfigDict) -> str:
    """The configuration as JSON text, keys sorted."""
    return config.to_json_best_effort(indent=2, sort_keys=True)


def differences(config: ConfigDict, other: dict) -> list[str]:
    """Fields in which a configuration differs from one read from JSON, as `name (here, there)`."""

    def flat(tree: dict, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    mine, theirs = dict(flat(json.loads(to_json(config)))), dict(flat(other))
    return [
        f"{name} ({mine.get(name)!r} here, {theirs.get(name)!r} there)"
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name)
    ]

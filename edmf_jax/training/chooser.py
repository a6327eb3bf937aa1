"""`train_chooser(config, workdir)`: trains `core.chooser` on simulated shots and real pairs, resumable at any time."""

import contextlib
import datetime
import functools
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from edmf_jax.core import chooser
from edmf_jax.errors import UserError
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json
from edmf_jax.runtime.interrupt import Interrupted, InterruptFlag
from edmf_jax.runtime.lock import exclusive
from edmf_jax.runtime.process import versions
from edmf_jax.simulate.batch import Batch, Exposures, develop, draw_exposures
from edmf_jax.simulate.ranges import Ranges, from_fields
from edmf_jax.training.checkpoint import Checkpoints
from edmf_jax.training.chooser_data import cut_patches, read_atlas, read_pairs, read_real_pairs, validate
from edmf_jax.training.chooser_step import initial_state, starting_from, train_on
from edmf_jax.training.config import as_stored
from edmf_jax.training.run_dir import PACKAGES, MetricsLog, open_workdir, read_run
from edmf_jax.training.state import TrainState
from edmf_jax.weights.chooser_params import load_chooser, save_chooser

NEWEST, BEST = "params.npz", "best.npz"
_MOST_SHOTS = 8


def train_chooser(config: ConfigDict, workdir: str | Path, *, log: Callable[[str], None] = print) -> TrainState:
    """Trains the run in `workdir`, from its newest checkpoint if it has one; returns the final state.

    Args:
      config: see configs/chooser.py.
      workdir: holds `run.json`, `metrics.jsonl`, `checkpoints/`, `params.npz` and `best.npz`; created if missing.
      log: takes the few lines meant for a person.

    Raises:
      UserError: what the user can correct, in one line.
      Interrupted: Ctrl-C or SIGTERM; the run is saved, and the same call resumes it.
    """
    ranges = check_chooser_config(config)
    atlas, fingerprint = read_atlas(config.data.pictures, config.data.patch_px)
    real, real_fingerprint = read_real_pairs(config.data.real, config.data.patch_px)
    pairs = read_pairs(config.validation.folder)
    folder = open_workdir(workdir, config)
    with contextlib.ExitStack() as opened:
        opened.enter_context(exclusive(folder))
        _write_run(folder, config, f"{fingerprint} {real_fingerprint}".strip())
        checkpoints = opened.enter_context(contextlib.closing(Checkpoints(folder, config.checkpoint.keep_last)))
        state = _restore_or_init(config, checkpoints, log)
        metrics = opened.enter_context(contextlib.closing(MetricsLog(folder, int(state.step))))
        flag = opened.enter_context(InterruptFlag())
        log(f"{len(atlas.boxes)} pictures, {len(real)} real pairs, {len(pairs)} pairs to validate on, "
            f"{chooser.count_params(state.params)} parameters, {jax.devices()[0]}")
        return _Loop(config, ranges, atlas, real, pairs, folder, checkpoints, metrics, flag, log).train(state)


def check_chooser_config(config: ConfigDict) -> Ranges:
    """Checks every value before any data is read; returns the simulation's ranges.

    Raises:
      UserError: a value is not possible.
    """
    data, train, validation = config.data, config.train, config.validation
    rules = (
        ("data.patch_px", data.patch_px, data.patch_px % 16 == 0 and data.patch_px >= 48, "a multiple of 16, from 48"),
        ("data.shots_per_step", data.shots_per_step, data.shots_per_step >= 2, "at least 2"),
        ("data.shot_shares", tuple(data.shot_shares), sum(data.shot_shares) > 0 and min(data.shot_shares) >= 0
         and len(data.shot_shares) == _MOST_SHOTS - 1, "seven shares, for 2 to 8 shots"),
        ("data.uses", data.uses, data.uses >= 1, "at least 1"),
        ("data.real_patches", data.real_patches, data.real_patches >= 1, "at least 1"),
        ("model.size", config.model.size, config.model.size in chooser.SIZES, f"one of {', '.join(chooser.SIZES)}"),
        ("model.dtype", config.model.dtype, config.model.dtype in ("float32", "bfloat16"), "float32 or bfloat16"),
        ("loss.edge_px", config.loss.edge_px, 0 <= config.loss.edge_px <= (data.patch_px - 16) // 2,
         "not negative, and 16 px of data.patch_px must be left"),
        ("train.steps", train.steps, train.steps >= 1, "at least 1"),
        ("train.learning_rate", train.learning_rate, train.learning_rate > 0, "positive"),
        ("train.average", train.average, 0 <= train.average < 1, "from 0 to below 1"),
        ("train.log_every_steps", train.log_every_steps, train.log_every_steps >= 1, "at least 1"),
        ("validation.rim_px", validation.rim_px, validation.rim_px >= 1, "at least 1"),
    )
    for name, value, is_possible, rule in rules:
        if not is_possible:
            raise UserError(f"{name}={value!r}: must be {rule}")
    try:
        return from_fields(dict(config.simulate))
    except ValueError as error:
        raise UserError(str(error)) from error


def _write_run(folder: Path, config: ConfigDict, fingerprint: str) -> None:
    record = read_run(folder)
    if record and record["data"] != fingerprint:
        raise UserError(f"{folder}: this run began on other pictures than data.pictures={config.data.pictures} and "
                        f"data.real={config.data.real!r} hold now; choose another work folder, or the pictures of that "
                        "run")
    begun = record["begun"] if record else datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = {"config": as_stored(config), "versions": versions(PACKAGES), "data": fingerprint, "begun": begun}
    replace_file(folder / "run.json", to_json(record).encode())


def _restore_or_init(config: ConfigDict, checkpoints: Checkpoints, log: Callable[[str], None]) -> TrainState:
    state = jax.jit(lambda: initial_state(config))()
    if checkpoints.steps:
        log(f"going on from step {checkpoints.steps[-1]} of {config.train.steps}")
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
        return checkpoints.restore(checkpoints.steps[-1], like)
    if config.train.init:
        params, about = load_chooser(config.train.init)
        if about["size"] != config.model.size:
            raise UserError(f"train.init={config.train.init}: of model.size={about['size']}, and {config.model.size} "
                            f"is asked for; set --config.model.size={about['size']}")
        state = starting_from(state, params)
    return state


def shots_of_step(config: ConfigDict, step: int) -> int:
    """How many shots the samples of a step have, from 2 to 8; a function of seed and step."""
    shares = np.array(config.data.shot_shares, np.float64)
    draw = np.random.default_rng((config.seed, step // config.data.uses))
    return 2 + int(draw.choice(len(shares), p=shares / shares.sum()))


class _Loop:
    """One call of `train_chooser`.  Intervals are of the process's own time, so a busy machine changes nothing."""

    def __init__(self, config, ranges, atlas, real, pairs, folder, checkpoints, metrics, flag, log):
        self.config, self.real, self.pairs, self.folder, self.log = config, real, pairs, folder, log
        self.checkpoints, self.metrics, self.flag = checkpoints, metrics, flag
        self.atlas = jax.tree.map(jnp.asarray, atlas)
        self.key = jax.random.key(config.seed, impl="rbg")  # compiles ten times faster than threefry on a CPU
        self.ranges = ranges
        self.train_on = jax.jit(functools.partial(train_on, config=config), donate_argnums=0)
        self.exposed: tuple[int, Exposures | None] = -1, None
        self.saved = self.validated = time.process_time()
        self.best = max((r["score"] for r in read_validations(folder)), default=-np.inf)

    def train(self, state: TrainState) -> TrainState:
        """Trains to the last step.

        Raises:
          Interrupted: a signal asked to stop; the state is saved.
          UserError: the loss is not finite; nothing is saved after it.
        """
        train, step, rows = self.config.train, int(state.step), []
        began = time.perf_counter()
        while step < train.steps:
            state, report = self.train_on(state, self._batch(step), real=self._real_patches(step))
            step += 1
            row = {name: float(value) for name, value in jax.device_get(report).items()}
            if not np.isfinite([row["loss"], row["gradient_norm"]]).all():
                raise UserError(f"the training diverged at step {step}: loss {row['loss']:.4g}; the checkpoints of "
                                f"{self.folder} are good; set train.learning_rate lower in another folder")
            rows.append(row)
            if step % train.log_every_steps == 0:
                means = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
                rate = len(rows) / (time.perf_counter() - began)
                self.metrics.write({"step": step, **means, "steps_per_second": rate})
                rows, began = [], time.perf_counter()
            self._keep(state, step)
        return state

    def _batch(self, step: int) -> Batch:
        """The batch of a step, a function of seed and step; `data.uses` steps in a row have the same scenes."""
        data, shots = self.config.data, shots_of_step(self.config, step)
        number, use = divmod(step, data.uses)
        key = jax.random.fold_in(self.key, number)
        if self.exposed[0] != number:
            samples = max(1, data.shots_per_step // shots)
            self.exposed = number, draw_exposures(key, self.atlas, samples, shots, data.patch_px, self.ranges)
        return develop(jax.random.fold_in(key, 1 + use), self.exposed[1], self.ranges, turn=use)

    def _real_patches(self, step: int) -> np.ndarray | None:
        """The real pairs of a step, a function of seed and step; None if there are none."""
        data, rng = self.config.data, np.random.default_rng((self.config.seed, step, 1))
        return cut_patches(self.real, data.real_patches, data.patch_px, rng) if self.real else None

    def _keep(self, state: TrainState, step: int) -> None:
        """Saves and validates when that is due, or at the end; stops when a signal asks."""
        ends = step == self.config.train.steps
        stops = self.flag.signal is not None
        since = lambda moment, minutes: time.process_time() - moment >= 60 * minutes
        if ends or stops or since(self.saved, self.config.checkpoint.every_minutes):
            self.checkpoints.save(step, state)
            self._export(NEWEST, state, step)
            self.saved = time.process_time()
        if self.pairs and (ends or since(self.validated, self.config.validation.every_minutes)):
            self._validate(state, step)
            self.validated = time.process_time()
        if stops and not ends:
            self.checkpoints.wait()
            raise Interrupted(f"stopped and saved at step {step} of {self.config.train.steps}; the same command with "
                              f"--workdir={self.folder} goes on from there", self.flag.signal)

    def _export(self, name: str, state: TrainState, step: int) -> None:
        about = {"size": self.config.model.size, "step": step, "config": as_stored(self.config)}
        save_chooser(self.folder / name, state.opt_state.average, about)

    def _validate(self, state: TrainState, step: int) -> None:
        kinds = validate(state.opt_state.average, self.pairs, self.config.validation.rim_px)
        score = float(np.mean([network - hand for hand, network, _ in kinds.values()]))
        self.metrics.write({"step": step, "event": "validation", "score": score, "psnr": kinds})
        self.log(f"step {step}: " + "; ".join(
            f"{kind} " + " / ".join(f"{x:.2f}" for x in psnr) for kind, psnr in kinds.items()))
        if score > self.best:
            self.best = score
            self._export(BEST, state, step)


def read_validations(folder: Path) -> list[dict]:
    """The records of the log that are validations, in order."""
    import json

    path = Path(folder) / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [record for record in map(json.loads, lines) if record.get("event") == "validation"]

"""The training loop: epochs, calls of several steps, logging, checkpoints, the watch over the loss."""

import dataclasses
import functools
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from edmf_jax import distributed, memory
from edmf_jax.checkpoint import BEST_METRIC, Checkpoints
from edmf_jax.data import TrainingSet, put_same, put_sources, put_split
from edmf_jax.health import Diverged, Health
from edmf_jax.hosted import HostedPrograms
from edmf_jax.interrupt import Interrupted, InterruptFlag
from edmf_jax.profiling import Profile
from edmf_jax.state import TrainState, shardings, to_devices, to_logical
from edmf_jax.steps import (
    Recipe,
    make_epoch_end,
    make_sharded_epoch_end,
    make_sharded_step,
    make_train_step,
)
from edmf_jax.workdir import MetricsLog


@dataclasses.dataclass(frozen=True)
class Run:
    """What does not change while a run goes on."""

    config: ConfigDict
    mesh: Mesh
    training_set: TrainingSet
    recipe: Recipe


class Programs(NamedTuple):
    """The compiled functions of a run; all but the logs' values stays on the devices."""

    to_devices: Callable  # a state in the layout of checkpoints → in that of the step, in place (donated)
    to_logical: Callable  # the inverse
    train_steps: Callable  # see steps.make_train_step
    epoch_end: Callable


def make_programs(run: Run, logical: TrainState) -> Programs:
    """Pmapped where one process has all devices and they hold the memory; else sharded over the mesh."""
    recipe, mesh = run.recipe, run.mesh
    if recipe.memory_kind == "host":
        hosted = HostedPrograms(recipe, mesh)
        return Programs(hosted.to_devices, hosted.to_logical, hosted.train_steps, hosted.epoch_end)
    if jax.process_count() > 1:
        def same(state):
            return state

        return Programs(same, same, make_sharded_step(recipe, mesh), make_sharded_epoch_end(recipe, mesh))
    places = shardings(mesh, logical)  # the same in both layouts: split along the leading axis
    return Programs(
        jax.jit(lambda s: to_devices(s, mesh.size), out_shardings=places, donate_argnums=0),
        jax.jit(to_logical, out_shardings=places, donate_argnums=0),
        make_train_step(recipe), make_epoch_end(recipe))


class Loop:
    """One call of `train`, from a state to the last epoch's end.

    Args:
      run: what is trained, and on what.
      folder: the run's.
      checkpoints: where it saves itself.
      flag: says when to stop.
      metrics: the log.
      profile: traces some steps.
      log: takes the lines meant for a person.
    """

    def __init__(self, run: Run, folder: Path, checkpoints: Checkpoints, flag: InterruptFlag, metrics: MetricsLog,
                 profile: Profile, log: Callable[[str], None]):
        self.run, self.folder, self.checkpoints, self.flag = run, folder, checkpoints, flag
        self.metrics, self.profile, self.log = metrics, profile, log
        config, layout = run.config, run.recipe.layout
        self.health = Health(config.train.diverged_ratio, layout, config.seed, config.train.learning_rate)
        self.pending: list[tuple[int, int, dict]] = []  # calls whose means are still on the devices
        self.began = time.perf_counter()

    def train(self, state: TrainState) -> TrainState:
        """From `state` to the end of the last epoch, both in logical layout.

        Raises:
          Interrupted: told to stop; saved.
          Diverged: a loss that is no number, or far too large; nothing is saved after it.
        """
        run, config, layout = self.run, self.run.config, self.run.recipe.layout
        self.programs = make_programs(run, state)
        self.sources = put_sources(run.training_set, run.mesh)
        self.step, self.last = int(state.step), config.train.epochs * layout.steps_per_epoch
        self.count = functools.cache(lambda count: put_same(np.int32(count), run.mesh))
        self.agreed, self.told = self.step, False  # at which step the processes last asked each other, and what came
        state = self.programs.to_devices(state)
        quiet = None if distributed.is_first() else True
        with tqdm(total=self.last, initial=self.step, unit="step", disable=quiet, file=sys.stderr) as self.bar:
            for epoch in range(self.step // layout.steps_per_epoch, config.train.epochs):
                began = time.perf_counter()
                order = put_split(layout.device_order(config.seed, epoch, run.mesh.size), run.mesh)
                state = self._epoch(state, order, (epoch + 1) * layout.steps_per_epoch)
                state, report = self.programs.epoch_end(state, self.sources)
                report = log_epoch(self.metrics, self.step, epoch, report, time.perf_counter() - began)
                state = self._save(state, {BEST_METRIC: report["sharpness"]})
                self.bar.clear()
                self.log(epoch_line(config, report, self.loss))
                self._stop_if_told()
        self.checkpoints.wait()
        return self.programs.to_logical(state)

    def _epoch(self, state: TrainState, order: jax.Array, end: int) -> TrainState:
        """All steps that are left of an epoch."""
        every = self.run.config.checkpoint.every_steps or end
        while self.step < end:
            self.profile.before(self.step)
            count = min(self.run.recipe.steps_per_call, end - self.step, every - self.step % every)
            state, means = self.programs.train_steps(state, self.sources, order, self.count(count))
            self.pending.append((self.step, count, means))
            self.step += count
            self.bar.update(count)
            if self.began:
                jax.block_until_ready(means)
                self.log(f"first step after {time.perf_counter() - self.began:.1f} s")
                self.began = 0.0
            if self.step == end or self._log_is_due():
                self._collect(end)
            if self.step < end and (self._is_told() or self.step % every == 0):
                self._collect(end)  # nothing is saved that was not checked
                state = self._save(state)
                self._stop_if_told()
        return state

    def _is_told(self) -> bool:
        """To stop?  Several processes agree on it at the same steps, when the log is written."""
        if jax.process_count() == 1:
            return self.flag.signal is not None
        every = self.run.config.train.log_every_steps
        if self.step // every > self.agreed // every or self.step % self.run.recipe.layout.steps_per_epoch == 0:
            self.agreed, self.told = self.step, distributed.any_process(self.flag.signal is not None)
        return self.told

    def _log_is_due(self) -> bool:
        every = self.run.config.train.log_every_steps
        return self.step // every > self.pending[0][0] // every

    def _collect(self, end: int) -> None:
        """Fetches the means of the steps since the last time: every one is checked, some are logged."""
        every, pending, self.pending = self.run.config.train.log_every_steps, self.pending, []
        saved = self.checkpoints.steps
        for (first, count, _), means in zip(pending, jax.device_get([means for *_, means in pending])):
            for i in range(count):
                step, row = first + i + 1, {name: values[i] for name, values in means.items()}
                try:
                    self.health.check(step, float(row["loss"]), float(row["gradient_norm"]), saved)
                except Diverged as error:
                    self.metrics.write(error.record)
                    raise
                self.loss = float(row["loss"])
                if step % every == 0 or step == end:
                    self.bar.set_postfix(log_step(self.metrics, step, self.run.recipe.layout, row))

    def _save(self, state: TrainState, report: dict | None = None) -> TrainState:
        state = self.programs.to_logical(state)
        self.checkpoints.save(self.step, state, report)
        return self.programs.to_devices(state)

    def _stop_if_told(self) -> None:
        if self._is_told() and self.step < self.last:
            self.checkpoints.wait()
            raise Interrupted(f"stopped and saved at step {self.step} of {self.last}; the same command with "
                              f"--workdir={self.folder} goes on from there", self.flag.signal or signal.SIGTERM)


def log_step(metrics: MetricsLog, step: int, layout, row: dict) -> dict[str, str]:
    """Writes a batch's means to the log; returns what the progress bar shows of them."""
    values = {name: np.asarray(value).tolist() for name, value in row.items()}
    rate, epoch = metrics.rate(step), (step - 1) // layout.steps_per_epoch + 1
    metrics.write({"step": step, "epoch": epoch, **values, "patches_per_second": rate and rate * layout.batch})
    return {"epoch": epoch, "loss": f"{values['loss']:.4f}"}


def log_epoch(metrics: MetricsLog, step: int, epoch: int, report: dict, seconds: float) -> dict:
    """Writes an epoch's end to the log; returns it as plain numbers."""
    values = {name: value.tolist() for name, value in jax.device_get(report).items()}
    record = {"step": step, "epoch": epoch + 1, "event": "epoch_end", **values, "seconds": seconds}
    metrics.write(record)
    return record


def epoch_line(config: ConfigDict, report: dict, loss: float) -> str:
    """One line about an epoch for a person."""
    held = [e for e in report["held_epochs"] if e != memory.EMPTY]
    verdict = "remembered" if report["admitted"] else "not remembered"
    return (f"epoch {report['epoch']}/{config.train.epochs}  loss {loss:.4f}  spatial frequency "
            f"{report['sharpness']:.5f}  {verdict}, memory: epochs {held}")

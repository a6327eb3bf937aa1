"""The training loop: epochs, calls of several steps, log, checkpoints, and the checks of the loss."""

import dataclasses
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

from edmf_jax.core import memory
from edmf_jax.runtime import distributed
from edmf_jax.runtime.interrupt import Interrupted, InterruptFlag
from edmf_jax.training.checkpoint import BEST_METRIC, Checkpoints
from edmf_jax.training.device_data import TrainingSet, put_sharded, put_sources
from edmf_jax.training.divergence import Diverged, DivergenceMonitor
from edmf_jax.training.host_bank import HostBankPrograms
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.profiling import Profile
from edmf_jax.training.run_dir import MetricsLog
from edmf_jax.training.state import TrainState, shardings, to_checkpoint_layout, to_devices
from edmf_jax.training.steps import (
    StepConfig,
    make_epoch_end,
    make_sharded_epoch_end,
    make_sharded_step,
    make_train_step,
)


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays fixed during a run."""

    config: ConfigDict
    mesh: Mesh
    training_set: TrainingSet
    step_config: StepConfig


class Programs(NamedTuple):
    """The compiled functions of a run.  Arrays stay on the devices; only values for the log are fetched."""

    to_devices: Callable  # checkpoint layout → the layout of `train_steps`, in place (donated)
    to_checkpoint_layout: Callable  # the inverse
    for_saving: Callable  # as to_checkpoint_layout, for `Checkpoints.save`
    train_steps: Callable  # see steps.make_train_step
    epoch_end: Callable  # see steps.make_epoch_end


def make_programs(run: Run, state: TrainState) -> Programs:
    """The programs for a run and its `state` in checkpoint layout.

    Pmapped for one process with the memory on its devices; sharded over the mesh for several processes, or with a
    bank in host memory.
    """
    step_config, mesh = run.step_config, run.mesh
    if step_config.memory_kind == "host":
        host_bank = HostBankPrograms(step_config, mesh)
        return Programs(host_bank.to_devices, host_bank.to_checkpoint_layout, host_bank.for_saving,
                        host_bank.train_steps, host_bank.epoch_end)
    if jax.process_count() > 1:
        def unchanged(state):
            return state

        return Programs(unchanged, unchanged, unchanged, make_sharded_step(step_config, mesh),
                        make_sharded_epoch_end(step_config, mesh))
    split = shardings(mesh, state)  # the same in both layouts
    gather = jax.jit(to_checkpoint_layout, out_shardings=split, donate_argnums=0)
    return Programs(
        jax.jit(lambda s: to_devices(s, mesh.size), out_shardings=split, donate_argnums=0), gather, gather,
        make_train_step(step_config), make_epoch_end(step_config))


class StepClock:
    """Steps per second between two synchronizations with the devices.

    Steps are dispatched long before they are done, and their log values are fetched together: only where the host has
    waited for a step is the time that of the steps.
    """

    def __init__(self):
        self._mark: tuple[int, float] | None = None

    def restart(self, step: int) -> None:
        """Counts from now on; all steps up to `step` are done."""
        self._mark = step, time.perf_counter()

    def rate(self, step: int, *, more_are_done: bool = False) -> float | None:
        """Steps per second since the last synchronization, all steps up to `step` being done now; then restarts.

        If more steps are done, the host came late and the time is not that of the steps up to `step` alone: the rate
        is then a lower bound, and the next one is taken from the same beginning.  None before the first
        synchronization, whose steps include compilation.
        """
        before, now = self._mark, time.perf_counter()
        if not (before and more_are_done):
            self.restart(step)
        return (step - before[0]) / (now - before[1]) if before and step > before[0] else None


def next_count(steps_per_call: int, left: int) -> int:
    """Steps of the next call: `steps_per_call` while so many are left, then one at a time.

    Every count is a program that takes seconds to compile, so there are two, wherever a run was interrupted and
    whatever `checkpoint.every_steps` is.
    """
    return steps_per_call if left >= steps_per_call else 1


def is_done(means: dict[str, jax.Array]) -> bool:
    """Whether the devices have computed a call's means."""
    return all(value.is_ready() for value in means.values())


class TrainingLoop:
    """One call of `train`, from a state to the end of the last epoch.

    Args:
      run: what is trained, and on what.
      folder: the run's, named in the message of an interruption.
      checkpoints: where the state is saved.
      flag: is set by a signal to stop.
      metrics: the log.
      profile: traces some steps.
      log: takes the lines meant for a person.
    """

    def __init__(self, run: Run, folder: Path, checkpoints: Checkpoints, flag: InterruptFlag, metrics: MetricsLog,
                 profile: Profile, log: Callable[[str], None]):
        self.run, self.folder, self.checkpoints, self.flag = run, folder, checkpoints, flag
        self.metrics, self.profile, self.log = metrics, profile, log
        config, layout = run.config, run.step_config.layout
        self.monitor = DivergenceMonitor(config.train.diverged_ratio, layout, config.seed, config.train.learning_rate)
        self.pending: list[tuple[int, int, dict]] = []  # first step, count and means of calls not fetched yet
        self.window = 0  # where in `pending` the calls since the last line of the log begin
        self.began = time.perf_counter()
        self.clock = StepClock()

    def train(self, state: TrainState) -> TrainState:
        """Trains from `state` to the end of the last epoch, both in checkpoint layout.

        Raises:
          Interrupted: a signal asked to stop; the state is saved.
          Diverged: the loss is NaN, inf or far too large; nothing is saved after it.
        """
        run, config, layout = self.run, self.run.config, self.run.step_config.layout
        self.programs = make_programs(run, state)
        self.sources = put_sources(run.training_set, run.mesh)
        self.step, self.last = int(state.step), config.train.epochs * layout.steps_per_epoch
        self.agreed_at, self.agreed_to_stop = self.step, False  # see `_stop_requested`
        state = self.programs.to_devices(state)
        hide_bar = None if distributed.is_first() else True  # None: hidden unless stderr is a terminal
        with tqdm(total=self.last, initial=self.step, unit="step", disable=hide_bar, file=sys.stderr) as self.bar:
            for epoch in range(self.step // layout.steps_per_epoch, config.train.epochs):
                began = time.perf_counter()
                order = put_sharded(layout.device_order(config.seed, epoch, run.mesh.size), run.mesh)
                state = self._train_epoch(state, order, (epoch + 1) * layout.steps_per_epoch)
                state, report = self.programs.epoch_end(state, self.sources)
                report = log_epoch(self.metrics, self.step, epoch, report, began)
                state = self._save(state, {BEST_METRIC: report["sharpness"]})
                self.clock.restart(self.step)
                self.bar.clear()
                self.log(epoch_line(config, report, self.loss))
                self._stop_if_requested()
        self.checkpoints.wait()
        return self.programs.to_checkpoint_layout(state)

    def _train_epoch(self, state: TrainState, order: jax.Array, end: int) -> TrainState:
        """The remaining steps of an epoch, whose last is step number `end`."""
        save_every = self.run.config.checkpoint.every_steps or end
        while self.step < end:
            self.profile.before(self.step)
            left = min(end - self.step, save_every - self.step % save_every)
            count = next_count(self.run.step_config.steps_per_call, left)
            state, means = self.programs.train_steps(state, self.sources, order, count)
            self.pending.append((self.step, count, means))
            self.step += count
            self.bar.update(count)
            if self.began:
                jax.block_until_ready(means)
                self.clock.restart(self.step)
                self.log(f"first step after {time.perf_counter() - self.began:.1f} s")
                self.began = 0.0
            if self.step == end or self._log_is_due():
                self._collect(end, late=self.step < end)
            if self.step < end and (self._stop_requested() or self.step % save_every == 0):
                self._collect(end)  # so that nothing is saved whose loss was not checked
                state = self._save(state)
                self.clock.restart(self.step)
                self._stop_if_requested()
        return state

    def _stop_requested(self) -> bool:
        """Whether a signal asked to stop.  Several processes agree on the answer when the log is written."""
        if jax.process_count() == 1:
            return self.flag.signal is not None
        every, epoch_steps = self.run.config.train.log_every_steps, self.run.step_config.layout.steps_per_epoch
        if self.step // every > self.agreed_at // every or self.step % epoch_steps == 0:
            self.agreed_at = self.step
            self.agreed_to_stop = distributed.any_process(self.flag.signal is not None)
        return self.agreed_to_stop

    def _log_is_due(self) -> bool:
        every = self.run.config.train.log_every_steps
        return self.step // every > self.pending[self.window][0] // every

    def _collect(self, end: int, late: bool = False) -> None:
        """Fetches the means of the steps not fetched yet, checks all of them and logs those that are due.

        If `late`, all but those since the last line of the log, so that the devices have work while the host waits.
        """
        every, kept = self.run.config.train.log_every_steps, self.pending[self.window :] if late else []
        due, self.pending, self.window = self.pending[: len(self.pending) - len(kept)], kept, len(kept)
        if not due:
            return
        saved = self.checkpoints.steps
        fetched = jax.device_get([means for *_, means in due])  # waits for the steps
        rate = self.clock.rate(due[-1][0] + due[-1][1], more_are_done=bool(kept) and is_done(kept[0][2]))
        for (first, count, _), means in zip(due, fetched):
            for i in range(count):
                step, row = first + i + 1, {name: values[i] for name, values in means.items()}
                try:
                    self.monitor.check(step, float(row["loss"]), float(row["gradient_norm"]), saved)
                except Diverged as error:
                    self.metrics.write(error.record)
                    raise
                self.loss = float(row["loss"])
                if step % every == 0 or step == end:
                    self.bar.set_postfix(log_step(self.metrics, step, self.run.step_config.layout, row, rate))

    def _save(self, state: TrainState, report: dict | None = None) -> TrainState:
        state = self.programs.for_saving(state)
        self.checkpoints.save(self.step, state, report)
        return self.programs.to_devices(state)

    def _stop_if_requested(self) -> None:
        if self._stop_requested() and self.step < self.last:
            self.checkpoints.wait()
            raise Interrupted(f"stopped and saved at step {self.step} of {self.last}; the same command with "
                              f"--workdir={self.folder} goes on from there", self.flag.signal or signal.SIGTERM)


def log_step(metrics: MetricsLog, step: int, layout: PatchLayout, row: dict, rate: float | None) -> dict[str, str]:
    """Writes a batch's means to the log; returns what the progress bar shows of them.

    Args:
      metrics: the log.
      step: its number, counted from 1.
      layout: of the run's patches.
      row: the means.
      rate: steps per second, see `StepClock`; None: not known.
    """
    values = {name: np.asarray(value).tolist() for name, value in row.items()}
    epoch = (step - 1) // layout.steps_per_epoch + 1
    metrics.write({"step": step, "epoch": epoch, **values, "patches_per_second": rate and rate * layout.batch})
    return {"epoch": epoch, "loss": f"{values['loss']:.4f}"}


def log_epoch(metrics: MetricsLog, step: int, epoch: int, report: dict, began: float) -> dict:
    """Writes the end of `epoch` (from 0) to the log; returns the record as plain numbers.

    Args:
      metrics: the log.
      step: completed steps.
      epoch: from 0.
      report: on the devices; fetching it waits for the epoch's end.
      began: `time.perf_counter()` at the beginning of this process's part of the epoch.
    """
    values = {name: value.tolist() for name, value in jax.device_get(report).items()}
    record = {"step": step, "epoch": epoch + 1, "event": "epoch_end", **values,
              "seconds": time.perf_counter() - began}
    metrics.write(record)
    return record


def epoch_line(config: ConfigDict, report: dict, loss: float) -> str:
    """One line about an epoch, for a person."""
    held = [e for e in report["held_epochs"] if e != memory.EMPTY]
    verdict = "remembered" if report["admitted"] else "not remembered"
    return (f"epoch {report['epoch']}/{config.train.epochs}  loss {loss:.4f}  spatial frequency "
            f"{report['sharpness']:.5f}  {verdict}, memory: epochs {held}")

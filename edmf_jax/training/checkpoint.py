"""Saving and restoring runs with orbax.  The number of a checkpoint is the number of completed steps."""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from edmf_jax.errors import UserError
from edmf_jax.training.state import TrainState

BEST_METRIC = "sharpness"  # mean spatial frequency of an epoch's outputs, by which the best checkpoints are kept


def _orbax():
    # Imported late: the import takes a second, and only training runs need it.
    from orbax.checkpoint import v1 as ocp

    return ocp


def _not_from_orbax(record: logging.LogRecord) -> bool:
    """A filter for absl's logger: orbax logs every file there, and pages of traceback for what it raises anyway."""
    return "orbax" not in Path(record.pathname).parts


@contextlib.contextmanager
def _disk_errors(folder: Path, kept: list[int]) -> Iterator[None]:
    """Turns a full disk and exhausted memory into a UserError that names the newest checkpoint of `kept` (steps)."""
    try:
        yield
    except Exception as error:
        last = f"the last good checkpoint is step {kept[-1]}" if kept else "no checkpoint had been saved before"
        # The code RESOURCE_EXHAUSTED alone says nothing: it stands for a full disk, a quota, and for memory.
        text = str(error)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and not any(sign in text for sign in ("No space left", "quota", "File too large")):
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
                raise UserError(f"can't save a checkpoint in {folder}: out of memory while the state was copied; "
                                f"{last}; set memory.kind to snapshots, fewer data.patches or a smaller "
                                "data.patch_px, or use more devices") from error
            raise
        raise UserError(f"can't save a checkpoint in {folder}: the disk is full; {last}; free some space and run "
                        "the same command again") from error


class Checkpoints:
    """The checkpoints of one run, `WORKDIR/checkpoints/STEP`: the newest few and the best few are kept.

    A half-written checkpoint (the process was killed, the disk is full) is never mistaken for a finished one.

    Args:
      workdir: the run's folder.
      keep_last: how many of the newest to keep; None opens the folder for reading only and changes nothing in it.
      keep_best: how many of the sharpest epochs' ends to keep besides.
    """

    def __init__(self, workdir: Path, keep_last: int | None = None, keep_best: int = 0):
        logging.getLogger("absl").addFilter(_not_from_orbax)  # once, however often; other packages' lines stay
        ocp = _orbax()
        policies = ocp.training.preservation_policies
        self.folder = Path(workdir).absolute() / "checkpoints"
        self._failed, self._writing = False, None
        keep = [policies.PreserveAll() if keep_last is None else policies.LatestN(keep_last)]
        if keep_best:
            keep.append(policies.BestN(get_metric_fn=lambda m: m[BEST_METRIC], n=keep_best,
                                       keep_checkpoints_without_metrics=False))
        self._checkpointer = ocp.training.Checkpointer(
            self.folder,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(keep),
            cleanup_tmp_directories=keep_last is not None,
        )

    @property
    def steps(self) -> list[int]:
        """The saved steps, ascending."""
        return sorted(info.step for info in self._checkpointer.checkpoints)

    def best_step(self) -> int | None:
        """The saved step whose epoch was sharpest; None if no end of an epoch is saved."""
        ranked = [(info.metrics[BEST_METRIC], info.step) for info in self._checkpointer.checkpoints if info.metrics]
        return max(ranked)[1] if ranked else None

    def save(self, step: int, state: TrainState, metrics: dict[str, float] | None = None) -> None:
        """Starts writing `state` (in checkpoint layout); its arrays may be donated as soon as this returns.

        Writing goes on in the background; its errors are raised by the next `save` or by `wait`.

        Args:
          step: completed steps; a step that is saved already is not saved again.
          state: see `state.to_checkpoint_layout`.
          metrics: holds `BEST_METRIC` at the end of an epoch; None in the middle of one.

        Raises:
          UserError: the disk is full.
        """
        self.wait()
        steps = self.steps
        if step in steps:
            return
        with _disk_errors(self.folder, steps):
            _check_space(self.folder, state)
            self._failed = True  # until the next line has returned
            parts = _parts(_safe_from_donation(state))
            self._writing = self._checkpointer.save_checkpointables_async(step, parts, metrics=metrics)
            self._failed = False

    def wait(self) -> None:
        """Waits until everything is on the disk.

        Raises:
          UserError: the disk is full.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            with _disk_errors(self.folder, self.steps):
                self._failed = True
                writing.result()
                self._failed = False

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`, with the shapes and shardings of `like` (ShapeDtypeStructs)."""
        parts = self._checkpointer.load_checkpointables(step, _parts(like))
        return TrainState(params=parts["params"], **parts["run"])

    def restore_params(self, step: int, like: dict) -> dict:
        """The parameters alone, as NumPy arrays shaped as `like`; the bank is not read.  Needs one device only."""
        one_device = SingleDeviceSharding(jax.devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one_device), like)
        return jax.tree.map(np.asarray, self._checkpointer.load_checkpointables(step, {"params": like})["params"])

    def close(self) -> None:
        """Finishes what is being written and ends orbax's threads."""
        try:
            self.wait()
        finally:
            # A failed save has raised already; orbax would raise the same error once more here.
            with contextlib.suppress(Exception) if self._failed else contextlib.nullcontext():
                self._checkpointer.close()


def _safe_from_donation(state: TrainState) -> TrainState:
    """A copy of the state if it is on the CPU backend, else the state.

    From an accelerator orbax copies arrays before it returns.  Arrays of the CPU backend it writes from where they
    are, while the next steps, to which they are donated, overwrite them.
    """
    on_cpu = next(iter(state.step.devices())).platform == "cpu"
    return jax.tree.map(jnp.copy, state) if on_cpu else state


def _parts(state: TrainState) -> dict:
    # Parameters are a part of their own, so that they can be read without the bank.
    return {
        "params": state.params,
        "run": {"step": state.step, "opt_state": state.opt_state, "bank": state.bank},
    }


def _check_space(folder: Path, state: TrainState) -> None:
    needed = sum(x.nbytes for x in jax.tree.leaves(state))
    free = shutil.disk_usage(folder).free
    # The bank hardly compresses: do not start a save that may not fit.
    if free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

"""Saving and restoring runs (edge: orbax).  A checkpoint's number is the number of completed steps."""

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
from edmf_jax.state import TrainState

BEST_METRIC = "sharpness"


def _orbax():
    # Imported late: it takes a second, and only runs need it.
    # It reports every file it writes, and logs as pages of traceback what it raises anyway.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    from orbax.checkpoint import v1 as ocp

    return ocp


@contextlib.contextmanager
def _disk_errors(folder: Path, kept: list[int]) -> Iterator[None]:
    """Turns a failed write into one line that says which checkpoint is still good."""
    try:
        yield
    except Exception as error:
        text = str(error)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        signs = ("No space left", "RESOURCE_EXHAUSTED", "quota", "File too large")
        if not full and not any(sign in text for sign in signs):
            raise
        last = f"the last good checkpoint is step {kept[-1]}" if kept else "no checkpoint had been saved before"
        raise UserError(f"can't save a checkpoint in {folder}: the disk is full; {last}; free some space and run "
                        "the same command again") from error


class Checkpoints:
    """The checkpoints of one run, `WORKDIR/checkpoints/STEP`: the newest few and the best few are kept.

    A half-written one (the process was killed, the disk is full) is never taken for finished.

    Args:
      workdir: the run's folder.
      keep_last, keep_best: how many; `keep_last=None` only reads, and changes nothing in the folder.
    """

    def __init__(self, workdir: Path, keep_last: int | None = None, keep_best: int = 0):
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
        """The steps saved, ascending."""
        return sorted(info.step for info in self._checkpointer.checkpoints)

    def best_step(self) -> int | None:
        """The saved step whose epoch was sharpest; None where no epoch's end is saved."""
        ranked = [(info.metrics[BEST_METRIC], info.step) for info in self._checkpointer.checkpoints if info.metrics]
        return max(ranked)[1] if ranked else None

    def save(self, step: int, state: TrainState, metrics: dict[str, float] | None = None) -> None:
        """Begins to write `state` (in its logical layout); it may be donated when this returns.

        The writing goes on in the background.  What goes wrong there is raised by
        the next `save` or by `wait`.
        """
        self.wait()
        steps = self.steps
        if step in steps:
            return
        with _disk_errors(self.folder, steps):
            _check_space(self.folder, state)
            self._failed = True  # until it has returned
            self._writing = self._checkpointer.save_checkpointables_async(step, _parts(_own(state)), metrics=metrics)
            self._failed = False

    def wait(self) -> None:
        """Returns when everything lies safely on the disk."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            with _disk_errors(self.folder, self.steps):
                self._failed = True
                writing.result()
                self._failed = False

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`, in the shapes and on the devices of `like` (ShapeDtypeStructs with shardings)."""
        parts = self._checkpointer.load_checkpointables(step, _parts(like))
        return TrainState(params=parts["params"], **parts["run"])

    def restore_params(self, step: int, like: dict) -> dict:
        """The parameters alone as NumPy arrays; the bank is not read, any number of devices will do."""
        here = SingleDeviceSharding(jax.devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), like)
        return jax.tree.map(np.asarray, self._checkpointer.load_checkpointables(step, {"params": like})["params"])

    def close(self) -> None:
        """Ends orbax's threads, after what they are writing."""
        try:
            self.wait()
        finally:
            # A save that failed has raised; orbax raises the same once more when it is closed.
            with contextlib.suppress(Exception) if self._failed else contextlib.nullcontext():
                self._checkpointer.close()


def _own(state: TrainState) -> TrainState:
    """The state in memory that no donation can take away.

    From an accelerator, orbax copies it before it returns; an array of the CPU
    backend it would write as it lies there, while the next steps overwrite it.
    """
    on_cpu = next(iter(state.step.devices())).platform == "cpu"
    return jax.tree.map(jnp.copy, state) if on_cpu else state


def _parts(state: TrainState) -> dict:
    # Parameters apart from the rest, so that they can be read without the bank.
    return {
        "params": state.params,
        "run": {"step": state.step, "opt_state": state.opt_state, "bank": state.bank},
    }


def _check_space(folder: Path, state: TrainState) -> None:
    needed = sum(x.nbytes for x in jax.tree.leaves(state))
    free = shutil.disk_usage(folder).free
    # The bank compresses a little at best: a save that may not fit is not begun.
    if free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

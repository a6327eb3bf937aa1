"""Saving and restoring runs with orbax.  The number of a checkpoint is the number of completed steps.

A checkpoint holds parameters, optimizer state and the memory's numbers, some MB, and the names of the sets of
remembered planes that it needs.  The sets lie beside the checkpoints, one for each epoch (`bank_files`): a save writes
the one of the epoch just admitted.  Only the newest checkpoints keep their sets; one that is kept as the best is kept
for its parameters.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from edmf_jax.core.memory import MemoryBank
from edmf_jax.training.bank_files import BankFiles, SavedSets, copy_slot, names_in, restore_images, set_names
from edmf_jax.training.save_errors import check_space, disk_errors, wait_for_writers
from edmf_jax.training.state import TrainState, with_images

_SETS = "remembered"  # the part of a checkpoint that names the sets of remembered planes
BEST_METRIC = "sharpness"  # mean spatial frequency of an epoch's outputs, by which the best checkpoints are kept


def _orbax():
    # Imported late: the import takes a second, and only training runs need it.
    from orbax.checkpoint import v1 as ocp

    return ocp


def _not_from_orbax(record: logging.LogRecord) -> bool:
    """A filter for absl's logger: orbax logs every file there, and pages of traceback for what it raises anyway."""
    return "orbax" not in Path(record.pathname).parts


class Checkpoints:
    """The checkpoints of one run, `WORKDIR/checkpoints/STEP`: the newest few and the best few are kept.

    A half-written checkpoint (the process was killed, the disk is full) is never mistaken for a finished one.

    Args:
      workdir: the run's folder.
      keep_last: how many of the newest to keep; None opens the folder for reading only and changes nothing in it.
      keep_best: how many of the sharpest epochs' ends to keep besides, without remembered planes that no newer
        checkpoint needs.
    """

    def __init__(self, workdir: Path, keep_last: int | None = None, keep_best: int = 0):
        logging.getLogger("absl").addFilter(_not_from_orbax)  # once, however often; other packages' lines stay
        ocp = _orbax()
        policies = ocp.training.preservation_policies
        self.folder = Path(workdir).absolute() / "checkpoints"
        self._writing = None  # what orbax returned of a save in the background
        keep = [policies.PreserveAll() if keep_last is None else policies.LatestN(keep_last)]
        if keep_best:
            keep.append(policies.BestN(get_metric_fn=lambda m: m[BEST_METRIC], n=keep_best,
                                       keep_checkpoints_without_metrics=False))
        self._checkpointer = ocp.training.Checkpointer(
            self.folder,
            # Where a folder can't be made, threads that are to write into it would wait 300 s for it.
            context=ocp.Context(async_options=ocp.options.AsyncOptions(create_directories_asynchronously=False)),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(keep),
            cleanup_tmp_directories=keep_last is not None,
        )
        self._keep_last, self._files = keep_last, BankFiles(workdir)
        if keep_last is not None:
            self._remove(self._files.present())

    def _names(self, step: int) -> dict[str, int] | None:
        """The sets that the checkpoint of `step` names: name → slot; None if it holds its bank itself."""
        return names_in(self.folder / str(step) / _SETS)

    def _remove(self, names: Iterable[str]) -> None:
        """Removes those of the sets `names` that the newest checkpoints do not need."""
        self._named = {name for step in self.steps[-self._keep_last:] for name in self._names(step) or ()}
        if jax.process_index() == 0:
            self._files.remove(set(names) - self._named)

    @property
    def bank_bytes(self) -> int:
        """What the remembered planes take on the disk now."""
        return self._files.nbytes()

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
        rest, images = _without_images(state)
        names = {} if images is None else set_names(state.bank, step, mid_epoch=metrics is None)
        there = (self._names(steps[-1]) if steps else None) or {}
        new = {name: slot for name, slot in names.items() if name not in there}
        with self._saving():
            # Planes that do not compress are as large as they are.
            planes = len(new) * images.nbytes // images.shape[1] if new else 0
            check_space(self.folder, sum(x.nbytes for x in jax.tree.leaves(rest)) + planes)
            parts = _parts(_safe_from_donation(rest))
            if images is not None:
                parts[_SETS] = SavedSets(self._files, names, {n: copy_slot(images, slot) for n, slot in new.items()})
            self._writing = self._checkpointer.save_checkpointables_async(step, parts, metrics=metrics)
            self._named.update(names)

    def wait(self) -> None:
        """Waits until everything is on the disk.

        Raises:
          UserError: the disk is full.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            with self._saving():
                writing.result()
            # No others: another process may be writing its next set already.
            self._remove(self._named)

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """Around a save: when it raises, nothing writes any longer, and another save may begin.

        Raises:
          UserError: the disk is full.
        """
        with disk_errors(self.folder, lambda: self.steps):
            try:
                yield
            except Exception:
                wait_for_writers()
                with contextlib.suppress(Exception):
                    self._checkpointer.wait()  # raises the same error once more, and then never again
                # When a save begins, orbax counts its step, and no longer those that are to be removed after it.
                self._checkpointer.reload()
                raise

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`, with the shapes and shardings of `like` (ShapeDtypeStructs).

        In the slot that the next epoch will fill, images are 0; all others are as they were saved.

        Raises:
          UserError: remembered planes are missing, as for a checkpoint that is kept as the best only.
        """
        names = self._names(step)
        wanted, images = (like, None) if names is None else _without_images(like)
        parts = self._checkpointer.load_checkpointables(step, _parts(wanted))
        state = TrainState(params=parts["params"], **parts["run"])
        return state if images is None else with_images(state, restore_images(self._files, names, images))

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
            self._checkpointer.close()


def _safe_from_donation(state: TrainState) -> TrainState:
    """A copy of the state if it is on the CPU backend, else the state.

    From an accelerator orbax copies arrays before it returns.  Arrays of the CPU backend it writes from where they
    are, while the next steps, to which they are donated, overwrite them.
    """
    on_cpu = next(iter(state.step.devices())).platform == "cpu"
    return jax.tree.map(jnp.copy, state) if on_cpu else state


def _parts(state: TrainState) -> dict:
    # Parameters are a part of their own, so that they can be read without the rest.
    return {
        "params": state.params,
        "run": {"step": state.step, "opt_state": state.opt_state, "bank": state.bank},
    }


def _without_images(state: TrainState) -> tuple[TrainState, Any]:
    """The state without its bank's images, and these; None if its memory is not a bank of images."""
    return (with_images(state, None), state.bank.images) if isinstance(state.bank, MemoryBank) else (state, None)

"""Stops a run on NaN or inf in the loss or its gradient, or on a loss far above the median of those before."""

import collections
import statistics
from collections.abc import Sequence

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.training.patches import PatchLayout

_WINDOW, _LEAST = 100, 20  # losses that the median is taken over: at most and at least
_NAMED = 16  # patches that the message lists; the log has all


class Diverged(UserError):
    """Training diverged; `record` is the line for the log."""

    def __init__(self, message: str, record: dict):
        super().__init__(message)
        self.record = record


class DivergenceMonitor:
    """Checks the losses of a run, in the order of its steps.

    Args:
      ratio: a loss more than this many times the median of the last 100 is too large; 0: no limit.
      layout, seed: tell which patches a step had, for the message.
      learning_rate: for the message.
    """

    def __init__(self, ratio: float, layout: PatchLayout, seed: int, learning_rate: float):
        self._ratio, self._layout, self._seed, self._learning_rate = ratio, layout, seed, learning_rate
        self._losses = collections.deque(maxlen=_WINDOW)

    def check(self, step: int, loss: float, gradient_norm: float, saved: Sequence[int]) -> None:
        """Checks the loss and the norm of the gradient of one completed step.

        Args:
          step: its number, counted from 1.
          loss, gradient_norm: means over the step's patches.
          saved: the steps of the existing checkpoints, for the message.

        Raises:
          Diverged: a number is NaN or inf, or the loss is too large.
        """
        if not (np.isfinite(loss) and np.isfinite(gradient_norm)):
            self._stop(step, loss, f"the loss is {loss:.4g}, its gradient's norm {gradient_norm:.4g}", saved)
        if self._ratio and len(self._losses) >= _LEAST:
            median = statistics.median(self._losses)
            if loss > self._ratio * median:
                self._stop(step, loss, f"the loss is {loss:.4g}, {loss / median:.0f} times the median {median:.4g} of "
                           f"the {len(self._losses)} steps before (train.diverged_ratio={self._ratio:g})", saved)
        self._losses.append(loss)

    def _stop(self, step: int, loss: float, finding: str, saved: Sequence[int]):
        patches = self.patches(step)
        named = ", ".join(map(str, patches[:_NAMED])) + (", … (all in metrics.jsonl)" if len(patches) > _NAMED else "")
        good = f"the last good checkpoint is step {saved[-1]}" if saved else "no checkpoint had been saved before"
        record = {"step": step, "event": "diverged", "loss": float(loss), "patches": patches}
        raise Diverged(f"the training diverged at step {step}: {finding}; its patches: {named}; {good}; a run with a "
                       f"smaller train.learning_rate than {self._learning_rate:g} in another folder may not", record)

    def patches(self, step: int) -> list[int]:
        """The patches (rows of the patch table) that step number `step`, counted from 1, trained on."""
        epoch, within = divmod(step - 1, self._layout.steps_per_epoch)
        bank_rows = self._layout.epoch_order(self._seed, epoch)[within]
        patch_of_row = np.full(self._layout.bank_rows, -1)
        patch_of_row[self._layout.bank_row_of_patch()] = np.arange(self._layout.patches)
        return patch_of_row[bank_rows[bank_rows >= 0]].tolist()

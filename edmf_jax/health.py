"""Stops a run that can't be saved any more: a loss or gradient that is no number, or a loss far above those before."""

import collections
import statistics
from collections.abc import Sequence

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.patches import Layout

_REMEMBERED, _NEEDED = 100, 20  # losses that the median is taken of, at most and at least
_NAMED = 16  # patches that the message names; the log has all


class Diverged(UserError):
    """The training went astray at a step; `record` is what the log keeps of it."""

    def __init__(self, message: str, record: dict):
        super().__init__(message)
        self.record = record


class Health:
    """Watches the losses of a run, in the order of its steps.

    Args:
      ratio: how many times the median of the last 100 losses is too much; 0: no limit.
      layout, seed: which patches a step had, for the message.
      learning_rate: for the message.
    """

    def __init__(self, ratio: float, layout: Layout, seed: int, learning_rate: float):
        self._ratio, self._layout, self._seed, self._learning_rate = ratio, layout, seed, learning_rate
        self._losses = collections.deque(maxlen=_REMEMBERED)

    def check(self, step: int, loss: float, gradient_norm: float, saved: Sequence[int]) -> None:
        """Takes the loss and the norm of the gradient of one completed step.

        Args:
          saved: steps of the checkpoints there are.

        Raises:
          Diverged: it is no number, or too large.
        """
        if not (np.isfinite(loss) and np.isfinite(gradient_norm)):
            self._stop(step, loss, f"the loss is {loss:.4g}, its gradient's norm {gradient_norm:.4g}", saved)
        if self._ratio and len(self._losses) >= _NEEDED:
            usual = statistics.median(self._losses)
            if loss > self._ratio * usual:
                self._stop(step, loss, f"the loss is {loss:.4g}, {loss / usual:.0f} times the median {usual:.4g} of "
                           f"the {len(self._losses)} steps before (train.diverged_ratio={self._ratio:g})", saved)
        self._losses.append(loss)

    def _stop(self, step: int, loss: float, what: str, saved: Sequence[int]):
        patches = self.patches(step)
        named = ", ".join(map(str, patches[:_NAMED])) + (", … (all in metrics.jsonl)" if len(patches) > _NAMED else "")
        good = f"the last good checkpoint is step {saved[-1]}" if saved else "no checkpoint had been saved before"
        record = {"step": step, "event": "diverged", "loss": float(loss), "patches": patches}
        raise Diverged(f"the training diverged at step {step}: {what}; its patches: {named}; {good}; a run with a "
                       f"smaller train.learning_rate than {self._learning_rate:g} in another folder may not", record)

    def patches(self, step: int) -> list[int]:
        """The patch numbers (rows of the patch table) of a completed step, 1, 2, …"""
        epoch, within = divmod(step - 1, self._layout.steps_per_epoch)
        places = self._layout.epoch_order(self._seed, epoch)[within]
        patch_of_place = np.full(self._layout.places, -1)
        patch_of_place[self._layout.place_of_patch()] = np.arange(self._layout.patches)
        return patch_of_place[places[places >= 0]].tolist()

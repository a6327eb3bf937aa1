"""A trace of some training steps, for xprof or Perfetto."""

from collections.abc import Callable
from pathlib import Path

import jax


class Profile:
    """Traces `steps` steps of a run, from its second call of the step on, which no longer compiles.

    Args:
      folder: the run's; the trace goes to `folder/profile`.
      steps: how many, at least; 0: none.
      log: takes the line that says where the trace is.
    """

    def __init__(self, folder: Path, steps: int, log: Callable[[str], None]):
        self._folder, self._steps, self._log = folder / "profile", steps, log
        self._first: int | None = None  # completed steps before the run's first call
        self._from: int | None = None  # completed steps before the trace

    def before(self, step: int) -> None:
        """Call this before every call of the training step, with the number of completed steps."""
        if not self._steps:
            return
        if self._first is None:
            self._first = step
        elif self._from is None and step > self._first:
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._from = step
        elif self._from is not None and step >= self._from + self._steps:
            self.stop(step)

    def close(self) -> None:
        """Writes a trace that is still going on; call it however the run ended."""
        self.stop()

    def stop(self, step: int | None = None) -> None:
        """Ends the trace, after `step` completed steps if that is known, and writes it."""
        if not self._steps:
            return
        self._steps = 0
        if self._from is None:
            self._log("--profile: the run ended before a second call of the step; there is no trace")
            return
        jax.block_until_ready(jax.numpy.zeros(()) + 1)  # waits for all steps dispatched before
        jax.profiler.stop_trace()
        until = f" to {step}" if step else ""
        self._log(f"trace of steps {self._from + 1}{until}: {self._folder} (perfetto_trace.json.gz opens in Perfetto, "
                  "the folder in xprof)")

"""Keeps the parameters of a run as it goes on, in place of checkpoints: the bank is too large to save in minutes.

    OUT/weights/       the newest parameters, a weights folder as `edmf fuse --weights` takes it
    OUT/epochs.npz     the parameters of the last 20 epochs' ends, arrays "STEP/conv1/kernel", …

Both are replaced whole, so a run may be killed at any moment.
"""

import io
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from edmf_jax.io.atomic import replace_file
from edmf_jax.training.config import as_stored
from edmf_jax.training.state import TrainState
from edmf_jax.weights.params import flatten
from edmf_jax.weights.store import save_weights

_EPOCHS = 20  # 0.6 MB each


class KeepWeights:
    """Takes the place of `training.checkpoint.Checkpoints` in `train`: such a run can't be resumed.

    Args:
      out: the folder; created if missing.
      config: of the run, recorded beside the parameters.
      provenance: more to record.
    """

    steps = ()

    def __init__(self, out: Path, config: ConfigDict, provenance: dict | None = None):
        self._out, self._config, self._provenance = Path(out), as_stored(config), dict(provenance or {})
        self._epochs: dict[int, dict[str, np.ndarray]] = {}
        self.params: dict | None = None
        self._out.mkdir(parents=True, exist_ok=True)

    def save(self, step: int, state: TrainState, metrics: dict[str, float] | None = None) -> None:
        """Writes the parameters of `state`; `metrics` is None in the middle of an epoch."""
        self.params = jax.tree.map(np.array, jax.device_get(state.params))  # a copy: the next step overwrites its own
        save_weights(self._out / "weights", self.params, self._config, force=True,
                     provenance={**self._provenance, "step": step})
        if metrics is not None:
            self._epochs[step] = flatten(self.params)
            self._epochs = dict(list(self._epochs.items())[-_EPOCHS:])
            data = io.BytesIO()
            np.savez(data, **{f"{step}/{name}": value for step, arrays in self._epochs.items()
                              for name, value in arrays.items()})
            replace_file(self._out / "epochs.npz", data.getbuffer())

    def wait(self) -> None:
        """Nothing is written in the background."""

    def close(self) -> None:
        """Nothing is held open."""

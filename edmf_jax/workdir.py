"""A run's folder: `run.json` (configuration, versions, data), `metrics.jsonl`, `checkpoints/`."""

import datetime
import json
import time
from pathlib import Path

from ml_collections import ConfigDict

from edmf_jax import distributed
from edmf_jax.config import differences, to_json
from edmf_jax.errors import UserError
from edmf_jax.files import replace_file
from edmf_jax.runtime import versions

# Fields that a resumed run may change: they decide neither the patches nor what a step computes.
MAY_CHANGE = ("train.epochs", "train.log_every_steps", "train.steps_per_call", "train.diverged_ratio",
               "checkpoint.", "data.data_dir", "data.allow_missing", "memory.kind")
# Those that decide a run's numbers.
PACKAGES = ("edmf-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def open_workdir(workdir: str | Path, config: ConfigDict) -> Path:
    """Makes the folder, or checks that the run in it has the same configuration.

    Raises:
      UserError: the folder can't be made, or holds the run of another configuration.
    """
    folder = Path(workdir).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: can't make this folder: {error.strerror}") from error
    record = read_run(folder)
    if record:
        different = [d for d in differences(config, record["config"]) if not d.startswith(MAY_CHANGE)]
        if different:
            raise UserError(f"--workdir={workdir} holds the run of another configuration: {', '.join(different)}; "
                            "choose another folder, or the configuration of that run")
    return folder


def read_run(folder: Path) -> dict | None:
    """The run's record, or None where no run has begun in `folder`.

    Raises:
      UserError: the record is damaged.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); choose another work folder") from error


def write_run(folder: Path, config: ConfigDict, fingerprint: str, memory_kind: str) -> None:
    """Records configuration, versions, data and kind of memory of a run; checks the data of one that goes on.

    Raises:
      UserError: the run began on other pictures.
    """
    record = read_run(folder)
    if record and record["data"] != fingerprint:
        raise UserError(f"{folder}: this run began on other pictures than {config.data.dataset} holds now "
                        "(the data set was rebuilt?); choose another work folder, or the data of that run")
    record = {"config": json.loads(to_json(config)), "versions": versions(PACKAGES), "data": fingerprint,
              "memory_kind": memory_kind,
              "begun": record["begun"] if record else datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    if distributed.is_first():
        replace_file(folder / "run.json", (json.dumps(record, indent=2) + "\n").encode())


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line.  Lines past the step that a run goes on from are dropped.

    Args:
      folder: the run's.
      step: that the run goes on from.
      tensorboard: write numbers into `folder/tensorboard` as well.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False):
        self.path = Path(folder) / "metrics.jsonl"
        kept = []
        if self.path.is_file():
            for line in self.path.read_text().splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except (ValueError, KeyError):
                    continue  # the line that a killed process was writing
        replace_file(self.path, "".join(kept).encode())
        self._clock: tuple[int, float] | None = None
        self._board = _open_tensorboard(Path(folder) / "tensorboard", step) if tensorboard else None

    def write(self, record: dict) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        if self._board:
            prefix = f"{record['event']}/" if "event" in record else ""
            for name, value in record.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(prefix + name, value, record["step"])

    def close(self) -> None:
        """Flushes what TensorBoard reads."""
        if self._board:
            self._board.close()

    def rate(self, step: int) -> float | None:
        """Steps per second since the last call; None at the first, which waited for the compiler."""
        now = time.perf_counter()
        before, self._clock = self._clock, (step, now)
        return None if before is None or step <= before[0] else (step - before[0]) / (now - before[1])


class SilentLog(MetricsLog):
    """Of a process whose log another one writes."""

    def __init__(self):
        self._clock, self._board = None, None

    def write(self, record: dict) -> None:
        pass


def _open_tensorboard(folder: Path, step: int):
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(f"--tensorboard needs the package tensorboardX, which can't be imported ({error}); install it "
                        'with: pip install "edmf-jax[tensorboard]"') from error
    return SummaryWriter(str(folder), purge_step=step + 1)

"""A run's folder: `run.json` (configuration, versions, data), `metrics.jsonl`, `checkpoints/`."""

import datetime
import json
from pathlib import Path

from ml_collections import ConfigDict

from edmf_jax.errors import UserError
from edmf_jax.io.atomic import disk_errors, replace_file
from edmf_jax.io.json_text import to_json
from edmf_jax.runtime import distributed
from edmf_jax.runtime.process import versions
from edmf_jax.training.config import as_stored, differences

# Fields (or their first letters) that a resumed run may change: they affect neither patches nor what a step computes.
MAY_CHANGE = ("train.epochs", "train.log_every_steps", "train.steps_per_call", "train.diverged_ratio",
              "checkpoint.", "data.data_dir", "data.file", "data.allow_missing", "data.pictures", "memory.kind",
              "train.steps", "validation.")
# Packages whose versions are recorded, because they affect a run's numbers.
PACKAGES = ("edmf-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def open_workdir(workdir: str | Path, config: ConfigDict) -> Path:
    """Creates the folder, or checks that the run in it has the same configuration; returns its absolute path.

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
    """The record of the run in `folder`, or None if no run has begun there.

    Raises:
      UserError: the record is damaged.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record["config"], dict) or not isinstance(record["data"], str):
            raise TypeError("config or data")
        return record
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); choose another work folder") from error


def write_run(folder: Path, config: ConfigDict, fingerprint: str, pixels: str, memory_kind: str) -> None:
    """Writes `run.json`: configuration, versions, data and kind of memory; a resumed run's data is checked first.

    Args:
      folder: the run's.
      config: its configuration.
      fingerprint: of its pairs and patches, see `device_data.TrainingSet.fingerprint`.
      pixels: of its pictures' levels, see `device_data.TrainingSet.pixel_fingerprint`; runs that began before this was
        recorded are taken as having today's.
      memory_kind: "images", "host" or "snapshots".

    Raises:
      UserError: the run began on other pictures.
    """
    record = read_run(folder)
    if record and record["data"] != fingerprint:
        raise UserError(f"{folder}: this run began on other pictures than {config.data.dataset} holds now "
                        "(the data set was rebuilt?); choose another work folder, or the data of that run")
    if record and record.get("pixels", pixels) != pixels:
        raise UserError(f"{folder}: {config.data.dataset} has the same pairs as when this run began, but other pixels "
                        "(other files, or decoded or rendered by other versions: run.json names them); choose another "
                        "work folder, or the data and versions of that run")
    record = {"config": as_stored(config), "versions": versions(PACKAGES), "data": fingerprint, "pixels": pixels,
              "memory_kind": memory_kind,
              "begun": record["begun"] if record else datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    if distributed.is_first():
        replace_file(folder / "run.json", to_json(record).encode())


class MetricsLog:
    """The log `metrics.jsonl`: one JSON object a line.  Opening it drops the lines past `step`.

    Args:
      folder: the run's.
      step: the completed steps that the run starts or resumes from.
      tensorboard: write numbers into `folder/tensorboard` as well.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False):
        self.path = Path(folder) / "metrics.jsonl"
        kept = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except (ValueError, KeyError, TypeError):
                    continue  # an incomplete line of a killed process
        replace_file(self.path, "".join(kept).encode())
        self._board = _open_tensorboard(Path(folder) / "tensorboard", step) if tensorboard else None

    def write(self, record: dict) -> None:
        """Appends a record, which has the field "step".

        Raises:
          UserError: the disk is full, or the file can't be written; the run goes on from its newest checkpoint.
        """
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(to_json(record, indent=None))
        if self._board:
            prefix = f"{record['event']}/" if "event" in record else ""
            for name, value in record.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(prefix + name, value, record["step"])

    def close(self) -> None:
        """Flushes the files of TensorBoard."""
        if self._board:
            self._board.close()


class SilentLog(MetricsLog):
    """A log that writes nothing, for all processes but the first."""

    def __init__(self):
        self._board = None

    def write(self, record: dict) -> None:
        pass


def _open_tensorboard(folder: Path, step: int):
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(f"--tensorboard needs the package tensorboardX, which can't be imported ({error}); install it "
                        'with: pip install "edmf-jax[tensorboard]"') from error
    return SummaryWriter(str(folder), purge_step=step + 1)

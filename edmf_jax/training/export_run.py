"""Writes the parameters of a run, or existing weights, in a format for fusing or for other programs."""

import contextlib
from pathlib import Path

import jax

from edmf_jax.core.model import init_params, make_model
from edmf_jax.errors import UserError
from edmf_jax.training.checkpoint import Checkpoints
from edmf_jax.training.run_dir import read_run
from edmf_jax.weights import store
from edmf_jax.weights.exporting import MODEL_FORMATS, files, save_model
from edmf_jax.weights.store import WEIGHTS_FORMATS, Weights, load_weights, save_weights


def export_run(workdir: str | Path, output: str | Path, *, step: str = "last", format: str = "numpy",
               force: bool = False) -> int:
    """Writes the parameters of one checkpoint of a run, with its configuration and a sha256; returns its step.

    Args:
      workdir: a run's folder.
      output: the folder to write, or the file for the formats of a whole model.
      step: a number, "last", or "best" (the end of the epoch with the greatest mean spatial frequency).
      format: "numpy" or "orbax", see `weights.store.save_weights`; "stablehlo", "onnx" or "tflite", see
        `weights.exporting`.
      force: replace an earlier export.

    Raises:
      UserError: an unknown format, no run, no such step (the message lists the existing ones), a package that the
        format needs is missing, or `output` is there already or can't be written.
    """
    _check_target(output, format, force)
    record = read_run(Path(workdir))
    if record is None:
        raise UserError(f"--workdir={workdir}: there is no run here (no run.json); give the folder of `edmf train`")
    with contextlib.closing(Checkpoints(Path(workdir))) as checkpoints:
        number = choose_step(checkpoints, step, workdir)
        model = make_model(record["config"]["model"]["width"])
        like = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
        params = checkpoints.restore_params(number, like)
    provenance = {"run": Path(workdir).name, "step": number, "begun": record["begun"], "versions": record["versions"]}
    _save(output, Weights(params, record["config"], str(workdir), provenance=provenance), format, force)
    return number


def export_weights(weights: str | Path, output: str | Path, *, format: str = "numpy", force: bool = False) -> None:
    """Writes existing weights, with their configuration and provenance, in another format.

    Args:
      weights: a folder, or the name of shipped weights, see `weights.store.load_weights`.
      output, format, force: as for `export_run`.

    Raises:
      UserError: an unknown format, no such weights or damaged ones, a package that the format needs is missing, or
        `output` is there already or can't be written.
    """
    _check_target(output, format, force)
    _save(output, load_weights(weights), format, force)


def _check_target(output: str | Path, format: str, force: bool) -> None:
    """Checks format and output before anything is read."""
    if format not in WEIGHTS_FORMATS + MODEL_FORMATS:
        raise UserError(f"format {format!r} is unknown; use one of {', '.join(WEIGHTS_FORMATS + MODEL_FORMATS)}")
    if format in MODEL_FORMATS:
        files.check_target(Path(output), force)
    else:
        store.check_target(Path(output).absolute(), force)


def _save(output: str | Path, weights: Weights, format: str, force: bool) -> None:
    if format in MODEL_FORMATS:
        save_model(output, weights, format=format, force=force)
    else:
        save_weights(output, weights.params, weights.config, format=format, provenance=weights.provenance, force=force)


def choose_step(checkpoints: Checkpoints, step: str, workdir: str | Path) -> int:
    """The saved step that `step` ("last", "best" or a number) stands for.

    Raises:
      UserError: it does not exist; the message lists those that do.
    """
    steps = checkpoints.steps
    if not steps:
        raise UserError(f"--workdir={workdir}: nothing has been saved yet; the first checkpoint comes with the first "
                        "epoch's end")
    if step == "last":
        return steps[-1]
    if step == "best":
        best = checkpoints.best_step()
        if best is None:
            raise UserError("--step=best: no epoch has ended yet; take --step=last")
        return best
    if str(step).isdecimal() and int(step) in steps:
        return int(step)
    raise UserError(f"--step={step}: the steps saved are {', '.join(map(str, steps))}; give one of them, or best or "
                    "last")

"""Ablation experiments: one training per arm and seed, all on the same budget, and one table.

The experiments are the paper's Table 3 with Fig. 14, and a search over choices that the paper leaves open.

    WORKDIR/experiment.json        what is run: arms, patches, the split to score, the configuration that all arms share
    WORKDIR/ARM-seedN/             a run of `train`, and its parameters in `weights/`
    WORKDIR/scores/                a work folder of `evaluate`, with all arms and seeds that are trained
    WORKDIR/table.md, table.csv    means over pairs, then over seeds

The tables are written after each arm and seed.  The experiment can be stopped at any moment; the same call continues.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from edmf_jax.errors import UserError
from edmf_jax.evaluation.evaluate import evaluate
from edmf_jax.evaluation.provenance import describe_versions
from edmf_jax.evaluation.store import work_folder
from edmf_jax.evaluation.summary import Summary
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json
from edmf_jax.training.config import as_stored, differences
from edmf_jax.training.export_run import export_run
from edmf_jax.training.train import train

_CALIBRATION_STEPS = 40
_WARM_UP_STEPS = 20  # of the calibration steps, not timed: compilation and the first calls


class Arm(NamedTuple):
    """A variant of the shared configuration: a row of the table.

    Attributes:
      name: in the table.
      about: a description.
      fields: configuration field → its value in this arm.
      patches: factor on the number of patches, so that arms with another patch size see as many pixels.
    """

    name: str
    about: str
    fields: Mapping[str, Any]
    patches: float = 1.0


_PREVIOUS_EPOCH = {"memory.slots": 1, "memory.admission": "latest"}
_GRADIENT_ACTIVITY = {"focus.activity": "gradient"}
TABLE_3 = (
    Arm("baseline", "Table 3: memory of the previous epoch, gradient activity", _PREVIOUS_EPOCH | _GRADIENT_ACTIVITY),
    Arm("memory", "Table 3: memory of the four sharpest epochs, gradient activity", _GRADIENT_ACTIVITY),
    Arm("activity", "Table 3: memory of the previous epoch, spatial frequency", _PREVIOUS_EPOCH),
    Arm("both", "Table 3 and Fig. 14, third group: the paper's, adaptive ratios", {}),
    Arm("no-ratios", "Fig. 14, first group: no ratios", {"loss.ratios": "none"}),
    Arm("equal-ratios", "Fig. 14, second group: all ratios 0.2", {"loss.ratios": "equal"}),
)
SEARCH = (
    Arm("kept", "configs/edmf_cpu.py unchanged", {}),
    Arm("weights 1-10-10", "MUFusion's weights of the pixel, gradient and SSIM losses",
        {"loss.pixel_weight": 1.0, "loss.grad_weight": 10.0}),
    Arm("weights 400-200-10", "the weights of configs/edmf_cpu_fine.py",
        {"loss.pixel_weight": 400.0, "loss.grad_weight": 200.0}),
    Arm("sources as they are", "detail of the sources is not amplified", {"loss.detail_gain": 0.0}),
    Arm("blended targets", "one mean weighted by sharpness, as in configs/edmf_cpu_fine.py",
        {"loss.blend_exponent": 10.0}),
    Arm("window 9", "focus masks with a window of 9 px", {"focus.window_px": 9}),
    Arm("window 31", "focus masks with a window of 31 px", {"focus.window_px": 31}),
    Arm("rate 5e-4", "peak learning rate 5e-4", {"train.learning_rate": 5e-4}),
    Arm("constant rate", "learning rate 1e-3 without decay", {"train.learning_rate": 1e-3, "train.decay_epochs": 0}),
    Arm("patches 64 px", "batches of nine patches of 64² px instead of four of 96²",
        {"data.patch_px": 64, "train.batch": 9, "data.logical_shards": 1}, 2.25),
    Arm("patches 192 px", "batches of one patch of 192² px",
        {"data.patch_px": 192, "train.batch": 1, "data.logical_shards": 1}, 0.25),
    Arm("no swap", "every patch with its sources in one order only", {"data.swap": False}),
    Arm("memory from epoch 1", "as in Algorithm 1", {"memory.first_epoch": 1}),
)
EXPERIMENTS = {"table3": TABLE_3, "search": SEARCH}
"""Name on the command line → arms."""


def run_experiment(name: str, config: ConfigDict, workdir: str | Path, *, budget_minutes: float | None = None,
                   seeds: int = 1, test_split: str = "train[95%:]", log: Callable[[str], None] = print) -> Path:
    """Trains and scores every arm of an experiment.

    Args:
      name: one of `EXPERIMENTS`.
      config: the configuration that all arms share; each arm overrides a few of its fields.
      workdir: created if absent; an experiment in it is continued.
      budget_minutes: training time for each arm and seed; sets `data.patches`, equal for all arms, by timing some steps
        on this machine.  None: leave `data.patches` as it is.
      seeds: train each arm with the seeds 0 … seeds − 1.
      test_split: split of the data set to score; none of its pairs may be in `config.data.split`.
      log: called with each line meant for the user.

    Returns:
      The path of the table.

    Raises:
      UserError: an unknown name, a budget too small for one step per epoch, or `workdir` holds another experiment or a
        table of none, or another process is using it.
      Interrupted: SIGINT or SIGTERM; the same call continues.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"experiment {name!r} is unknown; use one of {', '.join(EXPERIMENTS)}")
    if seeds < 1 or (budget_minutes is not None and budget_minutes <= 0):
        raise UserError(f"--seeds={seeds} and --budget={budget_minutes} must be positive")
    folder = Path(workdir).absolute()
    with work_folder(folder):
        plan = _plan(name, config, folder, budget_minutes, test_split, log)
        config = config.copy_and_resolve_references()
        config.data.patches = plan["patches"]
        done = []
        # All arms with the first seed, then all with the second, so that an early stop still leaves a complete table.
        for seed in range(seeds):
            for arm in EXPERIMENTS[name]:
                weights = _train_arm(arm, seed, config, folder, log)
                done.append(f"{arm.name}, seed {seed}={weights}")
                summary = evaluate(config.data.dataset, done, folder / "scores", split=test_split, gray=True,
                                   data_dir=config.data.data_dir or None, allow_missing=config.data.allow_missing,
                                   log=log)
                _write_tables(EXPERIMENTS[name], summary, plan, folder)
    return folder / "table.md"


def _plan(name: str, config: ConfigDict, folder: Path, budget_minutes: float | None, test_split: str,
          log: Callable[[str], None]) -> dict[str, Any]:
    """The content of `experiment.json`, which the first call writes.

    Raises:
      UserError: the file is that of another experiment.
    """
    path, shared_config = folder / "experiment.json", as_stored(config)
    if path.is_file():
        plan = json.loads(path.read_text(encoding="utf-8"))
        # Patches and seed may differ: the number of patches can come from a budget (the plan's is used), and each arm
        # sets its seed.
        different = [d for d in differences(config, plan["config"]) if not d.startswith(("data.patches ", "seed "))]
        if (plan["name"], plan["test_split"]) != (name, test_split) or different:
            raise UserError(f"--workdir={folder} holds another experiment: {plan['name']} on {plan['test_split']}"
                            f"{'; ' + ', '.join(different) if different else ''}; choose another folder")
        log(f"continuing with {plan['patches']} patches an arm")
        return plan
    tables = [name for name in ("table.md", "table.csv") if (folder / name).exists()]
    if tables:
        raise UserError(f"--workdir={folder}: {', '.join(tables)} is already there, of no experiment in this folder, "
                        "and would be overwritten; choose another folder, or move it away")
    patches = config.data.patches
    if budget_minutes is not None:
        patches = _affordable_patches(config, folder / "calibration", 60 * budget_minutes)
        log(f"{budget_minutes:g} minutes an arm: {patches} patches in each of {config.train.epochs} epochs")
    plan = {"name": name, "patches": patches, "budget_minutes": budget_minutes, "test_split": test_split,
            "arms": [arm._asdict() for arm in EXPERIMENTS[name]], "config": shared_config}
    replace_file(path, to_json(plan).encode())
    return plan


def _affordable_patches(config: ConfigDict, folder: Path, seconds: float) -> int:
    """How many patches per epoch fit into `seconds` of training, from the speed of a short trial run in `folder`.

    Raises:
      UserError: not even one step per epoch fits.
    """
    trial = config.copy_and_resolve_references()
    trial.data.patches = _CALIBRATION_STEPS * config.train.batch
    trial.train.epochs = trial.train.decay_epochs = 1
    trial.train.log_every_steps = _CALIBRATION_STEPS - _WARM_UP_STEPS
    train(trial, folder, log=lambda line: None)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rate = [row["patches_per_second"] for row in rows if row.get("patches_per_second")][-1]
    batches = int(seconds * rate / config.train.epochs / config.train.batch)
    if batches < 1:
        raise UserError(f"--budget={seconds / 60:g}: an epoch of one step takes longer ({rate:.2f} patches a second "
                        "on this machine); give more minutes, or a smaller data.patch_px or train.batch")
    return batches * config.train.batch


def _train_arm(arm: Arm, seed: int, config: ConfigDict, folder: Path, log: Callable[[str], None]) -> Path:
    """The folder of the parameters of one arm and seed, which is trained if that folder does not exist yet."""
    run = folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', arm.name)}-seed{seed}"
    weights = run / "weights"
    if not weights.is_dir():
        log(f"{arm.name}, seed {seed}: {arm.about}")
        arm_config = config.copy_and_resolve_references()
        arm_config.seed = seed
        arm_config.data.patches = round(arm_config.data.patches * arm.patches)
        arm_config.update_from_flattened_dict(arm.fields)
        train(arm_config, run, log=log)
        export_run(run, weights)
    return weights


def _write_tables(arms: Sequence[Arm], summary: Summary, plan: Mapping[str, Any], folder: Path) -> None:
    """Writes table.md, a row per scored arm (mean over its seeds ± half their range), and table.csv, a row per seed."""
    metrics = [metric["name"] for metric in summary.metrics]
    means = {arm.name: [[summary.intervals[entry["name"]][metric].mean for metric in metrics]
                        for entry in summary.methods if entry["name"].startswith(f"{arm.name}, seed ")]
             for arm in arms}
    means = {name: np.array(rows) for name, rows in means.items() if rows}
    lines = [f"{plan['patches']} patches in each of {plan['config']['train']['epochs']} epochs, "
             f"{summary.about['count']} pairs of {plan['test_split']}; mean over the seeds ± half their range", "",
             "| arm | seeds | " + " | ".join(metrics) + " |", "| --- | ---: |" + " ---: |" * len(metrics)]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["arm", "seed", *metrics])
    for name, rows in means.items():
        cells = [f"{mean:.3f}" + (f" ± {spread:.3f}" if len(rows) > 1 else "")
                 for mean, spread in zip(rows.mean(0), np.ptp(rows, axis=0) / 2)]
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
        writer.writerows([name, seed, *row] for seed, row in enumerate(rows.tolist()))
    if versions := describe_versions(summary.made):
        lines += ["", versions]
    lines += ["", *(f"- **{arm.name}**: {arm.about}" for arm in arms if arm.name in means)]
    replace_file(folder / "table.md", ("\n".join(lines) + "\n").encode())
    replace_file(folder / "table.csv", table.getvalue().encode())

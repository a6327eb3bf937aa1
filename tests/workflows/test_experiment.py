"""Ablation experiments: arms trained and scored on one budget, resumption, and the table."""

import csv
import json
import os

import pytest

from edmf_jax.errors import UserError
from edmf_jax.evaluation.methods import _split_label
from edmf_jax.runtime.lock import exclusive
from edmf_jax.workflows import experiment
from edmf_jax.workflows.experiment import Arm, run_experiment
from tests.helpers.runs import tiny_config

ARMS = (Arm("paper", "as it is", {}), Arm("latest", "the previous epoch", {"memory.slots": 1,
                                                                        "memory.admission": "latest"}))


@pytest.fixture
def arms(monkeypatch):
    monkeypatch.setitem(experiment.EXPERIMENTS, "table3", ARMS)


def tiny(data_dir, **fields):
    return tiny_config(data_dir, train__epochs=1, **fields)


@pytest.mark.parametrize("name, file, base", [("table3", "ablation.py", "both"), ("search", "edmf_cpu.py", "kept")])
def test_arms_change_known_fields_and_differ(name, file, base):
    from edmf_jax.training.config import check_config, field_names, load_config

    config = load_config(file)
    arms = experiment.EXPERIMENTS[name]
    seen = []
    for arm in arms:
        assert set(arm.fields) <= set(field_names(config))
        own = config.copy_and_resolve_references()
        own.update_from_flattened_dict(arm.fields)
        check_config(own)
        assert own.train.batch * own.data.patch_px**2 == config.train.batch * config.data.patch_px**2
        assert arm.patches == own.train.batch / config.train.batch  # as many steps as the others
        assert _split_label(f"{arm.name}, seed 0=folder") == (f"{arm.name}, seed 0", "folder")
        seen.append(own.to_json())
    assert len(set(seen)) == len(arms)
    assert seen[[arm.name for arm in arms].index(base)] == config.to_json()


@pytest.mark.slow
def test_every_arm_and_seed_is_in_the_table_and_stopped_it_goes_on(arms, data_dir, tmp_path, monkeypatch):
    config, trained, train = tiny(data_dir), [], experiment.train

    def spied(config, workdir, **options):
        if len(trained) == 2 and not stopped:  # both arms of the first seed are done
            stopped.append(True)
            raise KeyboardInterrupt
        trained.append((workdir.name, config.seed, config.memory.admission))
        return train(config, workdir, **options)

    stopped = []
    monkeypatch.setattr(experiment, "train", spied)
    run = {"seeds": 2, "test_split": "train[75%:]", "log": lambda line: None}
    with pytest.raises(KeyboardInterrupt):
        run_experiment("table3", config, tmp_path, **run)
    assert "| paper | 1 |" in (tmp_path / "table.md").read_text()
    path = run_experiment("table3", config, tmp_path, **run)
    assert trained == [("paper-seed0", 0, "sharpest"), ("latest-seed0", 0, "latest"),
                       ("paper-seed1", 1, "sharpest"), ("latest-seed1", 1, "latest")]
    text = path.read_text()
    assert "| paper | 2 |" in text and "| latest | 2 |" in text and " ± " in text
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"]) for row in rows] == [("paper", "0"), ("paper", "1"), ("latest", "0"),
                                                          ("latest", "1")]
    assert rows[0]["SSIM"] != rows[1]["SSIM"]
    with pytest.raises(UserError, match=r"holds another experiment.*learning_rate"):
        run_experiment("table3", tiny(data_dir, train__learning_rate=5e-4), tmp_path, **run)


def test_a_budget_sets_the_number_of_patches_the_same_for_all(arms, data_dir, tmp_path, monkeypatch):
    ran = []

    def fake_train(config, workdir, **options):
        workdir.mkdir(parents=True)
        ran.append((config.data.patches, config.train.epochs))
        row = {"step": 20, "patches_per_second": 10.0}
        (workdir / "metrics.jsonl").write_text(json.dumps({"step": 10, "patches_per_second": None}) + "\n"
                                               + json.dumps(row) + "\n")
        if workdir.name != "calibration":
            raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "train", fake_train)
    config = tiny(data_dir)
    with pytest.raises(KeyboardInterrupt):
        run_experiment("table3", config, tmp_path / "w", budget_minutes=0.5, log=lambda line: None)
    # 30 s at 10 patches a second in one epoch, in whole batches of 4.
    assert ran[1:] == [(300, 1)]
    assert json.loads((tmp_path / "w" / "experiment.json").read_text())["patches"] == 300
    with pytest.raises(UserError, match=r"--budget=0.0001: an epoch of one step takes longer"):
        run_experiment("table3", config, tmp_path / "v", budget_minutes=1e-4, log=lambda line: None)


def test_a_second_process_is_told_and_a_foreign_table_is_kept(arms, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "train", pytest.fail)
    with exclusive(tmp_path), pytest.raises(UserError, match=f"in use by process {os.getpid()} on .* since "):
        run_experiment("table3", tiny(data_dir), tmp_path)
    (tmp_path / "table.csv").write_text("mine")
    with pytest.raises(UserError, match=r"table\.csv is already there, of no experiment in this folder"):
        run_experiment("table3", tiny(data_dir), tmp_path)
    assert (tmp_path / "table.csv").read_text() == "mine"


def test_mistakes_are_named(data_dir, tmp_path):
    with pytest.raises(UserError, match="'table9' is unknown; use one of table3"):
        run_experiment("table9", tiny(data_dir), tmp_path)
    with pytest.raises(UserError, match="--seeds=0"):
        run_experiment("table3", tiny(data_dir), tmp_path, seeds=0)


def test_the_command_takes_fields(monkeypatch, tmp_path):
    from edmf_jax.cli import main as commands

    given = []

    def fake(name, config, workdir, **options):
        given.append((name, config.data.patch_px, options["budget_minutes"]))
        (tmp_path / "table.md").write_text("a table\n")
        return tmp_path / "table.md"

    monkeypatch.setattr(experiment, "run_experiment", fake)
    assert commands.main(["experiment", "search", "--config", "configs/edmf_cpu.py", "--workdir", str(tmp_path),
                          "--budget", "2", "--config.data.patch_px=64"]) == 0
    assert given == [("search", 64, 2.0)]

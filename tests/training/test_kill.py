"""A run that is killed at awkward moments and restarted ends with the same bits as an uninterrupted one."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.training.export_run import export_run
from edmf_jax.weights.store import load_weights
from tests.helpers.files import ROOT
from tests.helpers.runs import overrides

FIELDS = {
    "data__dataset": "edmf_synthetic/tiny", "data__patches": 40, "data__patch_px": 32, "data__logical_shards": 1,
    "train__batch": 4, "train__epochs": 6, "train__log_every_steps": 1, "train__learning_rate": 1e-3,
    "checkpoint__every_steps": 3,
}


def start(workdir, data_dir):
    command = [sys.executable, "-m", "edmf_jax.cli.main", "train", "--config", str(ROOT / "configs" / "edmf.py"),
               "--workdir", str(workdir), f"--config.data.data_dir={data_dir}", *overrides(FIELDS)]
    # One device, as most users have; warnings of libraries go to the output that a failure prints.
    environment = {**os.environ, "XLA_FLAGS": ""}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def log_lines(workdir) -> list[dict]:
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def saving(workdir) -> bool:
    """Whether a checkpoint is half-written at this moment."""
    folder = workdir / "checkpoints"
    return folder.exists() and any("tmp" in p.name for p in folder.iterdir())


def after(step):
    return lambda workdir: any(r["step"] >= step for r in log_lines(workdir))


MOMENTS = {
    "before the first save": after(1),
    "during a save": saving,
    "between two epochs": lambda workdir: any("event" in r and r["step"] >= 20 for r in log_lines(workdir)),
    "in the middle of an epoch": after(27),
    "during a later save": lambda workdir: saving(workdir) and after(31)(workdir),
}


def kill_at(process, workdir, moment, number=signal.SIGKILL, limit_s=300):
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < limit_s:
        if moment(workdir):
            process.send_signal(number)
            break
        time.sleep(0.001)
    output = process.communicate(timeout=120)[0]
    return process.returncode, output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_dir):
    """The parameters of a run that was not killed."""
    open_dataset("edmf_synthetic/tiny", str(data_dir), log=lambda line: None)
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder / "run", data_dir)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    return final_params(folder / "run", folder / "weights")


def final_params(workdir, output):
    assert export_run(workdir, output) == 60
    return load_weights(output).params


def assert_equal(a, b):
    for layer in a:
        for kind in a[layer]:
            np.testing.assert_array_equal(a[layer][kind], b[layer][kind])


@pytest.mark.slow
def test_a_run_killed_five_times_ends_with_the_same_bits(undisturbed, data_dir, tmp_path):
    workdir, killed = tmp_path / "run", []
    for name, moment in MOMENTS.items():
        code, output = kill_at(start(workdir, data_dir), workdir, moment)
        assert code in (0, -signal.SIGKILL), output
        killed.append((name, code))
    # The test is only meaningful if most of them were really killed.
    assert sum(code == -signal.SIGKILL for _, code in killed) >= 4, killed
    process = start(workdir, data_dir)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    assert "going on from step" in output
    assert_equal(final_params(workdir, tmp_path / "weights"), undisturbed)
    steps = [r["step"] for r in log_lines(workdir) if "event" not in r]
    assert steps == list(range(1, 61))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_makes_it_save_and_say_how_to_resume(undisturbed, data_dir, tmp_path, number, code):
    workdir = tmp_path / "run"
    returned, output = kill_at(start(workdir, data_dir), workdir, after(5), number)
    assert returned == code, output
    assert "stopped and saved at step" in output
    assert f"--workdir={workdir}" in output
    process = start(workdir, data_dir)
    assert process.communicate(timeout=600) and process.returncode == 0
    assert_equal(final_params(workdir, tmp_path / "weights"), undisturbed)


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_good_checkpoint(undisturbed, data_dir, tmp_path):
    """From the first checkpoint on, no file may grow past 50 kB: as if the disk had filled up."""
    import resource

    workdir = tmp_path / "run"
    process = start(workdir, data_dir)
    while process.poll() is None and not (workdir / "checkpoints" / "3").exists():
        time.sleep(0.001)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (50_000, 50_000))
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 2, output
    assert "Traceback" not in output, output[-1500:]
    assert re.search(r"the disk is full; the last good checkpoint is step \d+; free some space", output), output
    process = start(workdir, data_dir)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    assert "going on from step" in output
    assert_equal(final_params(workdir, tmp_path / "weights"), undisturbed)

"""A training run that is stopped by a signal or a full disk resumes and ends with the same bits.

The disturbance comes from within, at a certain step: a slow machine can't miss it.  `kill -9` is tests/test_kills.py.
"""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.training.export_run import export_run
from edmf_jax.weights.store import load_weights
from tests.helpers.environment import QUICKLY_COMPILED
from tests.helpers.files import ROOT
from tests.helpers.runs import overrides

pytestmark = pytest.mark.slow
HANG_S = 1800  # no test waits that long unless something hangs
FIELDS = {
    "data__dataset": "edmf_synthetic/tiny", "data__patches": 40, "data__patch_px": 32, "data__logical_shards": 1,
    "train__batch": 4, "train__epochs": 3, "train__log_every_steps": 1, "train__learning_rate": 1e-3,
    "checkpoint__every_steps": 3,
}


def train(workdir, data_dir, **disturbance):
    """Exit code and output of `edmf train`, disturbed as tests/helpers/disturbed.py describes."""
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "disturbed.py"), "train",
               "--config", str(ROOT / "configs" / "edmf.py"), "--workdir", str(workdir),
               f"--config.data.data_dir={data_dir}", *overrides(FIELDS)]
    # One device, as most users have; warnings of libraries go to the output that a failure prints.
    environment = {**os.environ, "XLA_FLAGS": QUICKLY_COMPILED, "EDMF_DISTURB": json.dumps(disturbance)}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                          timeout=HANG_S, check=False)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_dir):
    """The parameters of a run that was not stopped."""
    open_dataset("edmf_synthetic/tiny", str(data_dir), log=lambda line: None)
    folder = tmp_path_factory.mktemp("undisturbed")
    code, output = train(folder / "run", data_dir)
    assert code == 0, output
    return final_params(folder / "run", folder / "weights")


def final_params(workdir, output):
    assert export_run(workdir, output) == 30
    return load_weights(output).params


def assert_resumes(workdir, data_dir, expected):
    code, output = train(workdir, data_dir)
    assert code == 0, output
    assert "going on from step" in output
    found = final_params(workdir, workdir.parent / "weights")
    for layer in found:
        for kind in found[layer]:
            np.testing.assert_array_equal(found[layer][kind], expected[layer][kind])
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in lines if "event" not in r] == list(range(1, 31))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_makes_it_save_and_say_how_to_resume(undisturbed, data_dir, tmp_path, number, code):
    workdir = tmp_path / "run"
    returned, output = train(workdir, data_dir, step=5, action=int(number))
    assert returned == code, output
    assert "stopped and saved at step" in output
    assert f"--workdir={workdir}" in output
    assert_resumes(workdir, data_dir, undisturbed)


def test_a_full_disk_leaves_the_last_good_checkpoint(undisturbed, data_dir, tmp_path):
    """From step 8 on, no file may grow past 50 kB: as if the disk had filled up."""
    workdir = tmp_path / "run"
    code, output = train(workdir, data_dir, step=8, action="full disk")
    assert code == 2, output
    assert "Traceback" not in output, output[-1500:]
    assert re.search(r"the disk is full; the last good checkpoint is step [36]; free some space", output), output
    assert_resumes(workdir, data_dir, undisturbed)

"""Several processes of one run, on this machine: equal numbers, no pictures of others, no hang if one dies."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from edmf_jax.data.tfds_reader import open_dataset
from tests.helpers.environment import QUICKLY_COMPILED
from tests.helpers.files import ROOT
from tests.helpers.runs import overrides

pytestmark = pytest.mark.slow
HANG_S = 1800  # no process runs that long unless it hangs; how fast it is proves nothing
FIELDS = {
    "data__dataset": "edmf_synthetic/tiny", "data__patches": 29, "data__patch_px": 32, "data__logical_shards": 8,
    "train__batch": 8, "train__epochs": 6, "train__log_every_steps": 1, "train__learning_rate": 1e-4,
}


class Process:
    """One process of a run, with its own devices.  It prints into a file, because a full pipe would block it.

    `disturbance` is done to it from within (tests/helpers/disturbed.py), so that no moment can be missed.
    """

    def __init__(self, arguments: list[str], devices: int, log, **disturbance):
        flags = f"{QUICKLY_COMPILED} --xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "XLA_FLAGS": flags, "EDMF_DISTURB": json.dumps(disturbance)}
        self.log = log
        with log.open("w") as file:
            self.popen = subprocess.Popen([sys.executable, *arguments], stdout=file, stderr=subprocess.STDOUT,
                                          env=environment, cwd=ROOT)

    def end(self) -> int:
        try:
            return self.popen.wait(HANG_S)
        finally:
            self.popen.kill()

    @property
    def text(self) -> str:
        return self.log.read_text()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def train_arguments(workdir, data_dir, **fields) -> list[str]:
    return [str(ROOT / "tests" / "helpers" / "disturbed.py"), "train", "--config", str(ROOT / "configs" / "edmf.py"),
            "--workdir", str(workdir), f"--config.data.data_dir={data_dir}", *overrides({**FIELDS, **fields})]


def start_two(arguments: list[str], folder, victim=None, **disturbance) -> list[Process]:
    """Two processes of two devices each, of which one is disturbed."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    return [Process([*arguments, "--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process", str(i)], 2,
                    folder / f"process-{i}-{port}.log", **(disturbance if i == victim else {})) for i in range(2)]


def records(workdir, event=False) -> list[dict]:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [r for r in found if ("event" in r) == event]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
    """One process with four devices."""
    open_dataset("edmf_synthetic/tiny", str(data_dir), log=lambda line: None)
    folder = tmp_path_factory.mktemp("alone")
    process = Process(train_arguments(folder / "run", data_dir), 4, folder / "log")
    assert process.end() == 0, process.text
    return folder / "run"


@pytest.fixture(scope="module")
def together(tmp_path_factory, data_dir, alone):
    folder = tmp_path_factory.mktemp("together")
    two = start_two(train_arguments(folder / "run", data_dir), folder)
    assert [p.end() for p in two] == [0, 0], two[0].text + two[1].text
    return folder / "run", two


def assert_same_run(one, other):
    """The same losses step by step and the same admissions, to rounding."""
    assert [r["step"] for r in records(one)] == [r["step"] for r in records(other)]
    for a, b in zip(records(one), records(other)):
        for name in ("loss", "current_pixel", "current_ssim", "score", "ratio", "memory_ratios"):
            np.testing.assert_allclose(a[name], b[name], rtol=2e-3, atol=2e-5, err_msg=f"{name}, step {a['step']}")
    for a, b in zip(records(one, event=True), records(other, event=True), strict=True):
        assert (a["admitted"], a["held_epochs"]) == (b["admitted"], b["held_epochs"])
        assert a["sharpness"] == pytest.approx(b["sharpness"], rel=1e-3)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_the_number_of_devices_does_not_change_the_run(alone, devices, data_dir, tmp_path):
    process = Process(train_arguments(tmp_path / "run", data_dir), devices, tmp_path / "log")
    assert process.end() == 0, process.text
    assert f"{devices} × cpu" in process.text
    assert_same_run(alone, tmp_path / "run")


def test_a_checkpoint_of_four_devices_resumes_on_one_and_eight(alone, data_dir, tmp_path):
    for devices in (1, 8):
        run = tmp_path / str(devices)
        shutil.copytree(alone, run)
        process = Process(train_arguments(run, data_dir, train__epochs=7), devices, tmp_path / "log")
        assert process.end() == 0, process.text
        assert "going on from step 24 of 28" in process.text
    assert_same_run(tmp_path / "1", tmp_path / "8")


def test_two_processes_of_two_devices_equal_one_of_four(alone, together):
    run, two = together
    assert [r["step"] for r in records(run)] == list(range(1, 25))
    assert_same_run(alone, run)
    assert "epoch 6/6" in two[0].text and "epoch" not in two[1].text  # only process 0 prints


def test_a_checkpoint_of_two_processes_resumes_in_one(together, data_dir, tmp_path):
    run, _ = together
    process = Process(train_arguments(run, data_dir, train__epochs=7), 1, tmp_path / "log")
    assert process.end() == 0, process.text
    assert "going on from step 24 of 28" in process.text
    assert [r["step"] for r in records(run)] == list(range(1, 29))


REPORT_PAIRS = """
import json, sys
from edmf_jax.runtime import distributed
from edmf_jax.training.config import load_config
with distributed.session(False, sys.argv[-5], int(sys.argv[-3]), int(sys.argv[-1])):
    import jax, numpy as np
    from edmf_jax.data import training_pairs
    from edmf_jax.training import device_data, train
    decoded = []
    decode = training_pairs.decode_files
    training_pairs.decode_files = lambda files, name, pair: decoded.append(pair) or decode(files, name, pair)
    mesh = device_data.device_mesh()
    training_set = train.prepare_data(load_config(sys.argv[1], sys.argv[2:-6]), mesh, lambda line: None)
    sources = device_data.put_sources(training_set, mesh)
    print(json.dumps({
        "held": {p.id: p.luma.nbytes for p in training_set.pairs if p.luma is not None},
        "all": {p.id: 2 * p.size[0] * p.size[1] for p in training_set.pairs},
        "decoded": sorted(set(decoded)),
        "atlases": [int(np.count_nonzero(np.asarray(s.data))) for s in sources.atlas.addressable_shards],
        "needed": sorted({training_set.pairs[i].id for i in device_data.local_pairs(training_set, mesh)}),
        "pixels": training_set.pixel_fingerprint(),
    }))
"""


def test_each_process_decodes_and_keeps_only_its_own_pairs(data_dir, alone, tmp_path):
    script = tmp_path / "report_pairs.py"
    script.write_text(REPORT_PAIRS)
    fields = overrides({**FIELDS, "data__dataset": "edmf_synthetic", "data__patches": 400, "data__patch_px": 64})
    open_dataset("edmf_synthetic", str(data_dir), log=lambda line: None)
    two = start_two([str(script), str(ROOT / "configs" / "edmf.py"), f"--config.data.data_dir={data_dir}", *fields],
                    tmp_path)
    assert [p.end() for p in two] == [0, 0], two[0].text + two[1].text
    found = [json.loads(next(line for line in p.text.splitlines() if line.startswith("{"))) for p in two]
    total = sum(found[0]["all"].values())
    for one in found:
        assert sorted(map(int, one["held"])) == one["needed"]
        assert {k: v for k, v in one["all"].items() if k in one["held"]} == one["held"]
        # Besides its even share, its patches need at most one picture at either end.
        assert len(set(one["decoded"]) | set(one["needed"])) <= len(one["needed"]) + 2
        assert sum(one["held"].values()) < 0.65 * total
    assert found[0]["pixels"] == found[1]["pixels"]
    assert set(found[0]["needed"]) | set(found[1]["needed"]) == set(map(int, found[0]["all"]))
    assert len(set(found[0]["needed"]) & set(found[1]["needed"])) <= 1  # one picture may have patches in both


@pytest.mark.parametrize("victim", [0, 1])
def test_if_one_process_dies_the_other_ends_and_both_resume_from_the_checkpoint(
        victim, together, data_dir, tmp_path):
    run = tmp_path / "run"
    arguments = train_arguments(run, data_dir, train__epochs=7)
    two = start_two(arguments, tmp_path, victim, step=10, action=int(signal.SIGKILL))
    assert two[victim].end() == -signal.SIGKILL, two[victim].text
    survivor = two[1 - victim]
    assert survivor.end() != 0, survivor.text
    # If process 0 died, JAX itself may notice it first.
    assert re.search(r"lost its peers|another task died", survivor.text), survivor.text
    last = records(run)[-1]["step"]
    two = start_two(arguments, tmp_path)
    assert [p.end() for p in two] == [0, 0], two[0].text + two[1].text
    resumed = int(re.search(r"going on from step (\d+) of 28", two[0].text)[1])
    assert 4 <= resumed <= last and resumed % 4 == 0
    expected = {r["step"]: r["loss"] for r in records(together[0])}
    got = {r["step"]: r["loss"] for r in records(run)}
    assert list(got) == list(range(1, 29))
    np.testing.assert_allclose([got[s] for s in expected if s <= 24], [expected[s] for s in expected if s <= 24],
                               rtol=2e-3)


def test_a_signal_to_one_process_stops_both_with_a_checkpoint(data_dir, alone, tmp_path):
    run = tmp_path / "run"
    arguments = train_arguments(run, data_dir, train__epochs=40)
    two = start_two(arguments, tmp_path, victim=1, step=6, action=int(signal.SIGTERM))
    assert [p.end() for p in two] == [143, 143], two[0].text + two[1].text
    assert all("stopped and saved at step" in p.text for p in two)


def test_arguments_that_do_not_fit_each_other_are_refused(tmp_path, data_dir):
    arguments = train_arguments(tmp_path / "run", data_dir)
    for wrong, message in [(["--coordinator", "127.0.0.1:1"], "belong together"),
                           (["--coordinator", "127.0.0.1:1", "--processes", "2", "--process", "2"], "from 0 to 1"),
                           (["--coordinator", "here", "--processes", "2", "--process", "0"], "give HOST:PORT"),
                           (["--distributed"], "knows no cluster")]:
        process = Process([*arguments, *wrong], 1, tmp_path / "log")
        assert process.end() == 2
        assert message in process.text and "Traceback" not in process.text

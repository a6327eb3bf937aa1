"""`kill -9` at seeded random moments: the same command afterwards ends with the same bits and leaves nothing behind.

20 kills in all; EDMF_KILLS=200 for more, EDMF_KILLS_SEED for others.  Every second kill comes at the n-th change of
a file (tests/helpers/disturbed.py), the others at a random share of the time that an undisturbed run takes after its
first change.  A kill that comes too late, because the command has ended, is drawn again, earlier: no test depends on
the speed of the machine.
"""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.training.export_run import export_run
from edmf_jax.weights.params import params_sha256
from edmf_jax.weights.store import load_weights, save_weights
from tests.helpers.environment import QUICKLY_COMPILED
from tests.helpers.files import ROOT
from tests.helpers.networks import WEIGHTS
from tests.helpers.runs import overrides

pytestmark = pytest.mark.slow
COMMANDS = ("train", "fuse", "evaluate", "export", "data")
KILLS = max(1, int(os.environ.get("EDMF_KILLS", "20")) // len(COMMANDS))  # of each command
CHAIN = 4  # kills at most before the command may end
SEED = os.environ.get("EDMF_KILLS_SEED", "1")
HANG_S = 1800  # no test waits that long unless something hangs
FIELDS = {
    "data__dataset": "edmf_synthetic/tiny", "data__patches": 13, "data__patch_px": 32, "data__logical_shards": 1,
    "model__width": 2, "train__batch": 4, "train__epochs": 4, "train__log_every_steps": 1, "train__learning_rate": 1e-3,
    "checkpoint__every_steps": 3,
}
LASTING = (".edmf.lock",)  # what a finished command leaves besides its results


@dataclasses.dataclass
class Command:
    """A command to be killed.

    Attributes:
      words: its arguments; {folder} stands for the folder that it writes to.
      prepare: makes what must be in that folder before.
      results: of a finished folder: name → anything that must be equal.
      check_torn: of a folder after a kill: fails if something that others may read is half-written.
    """

    words: list[str]
    prepare: Callable[[Path], None] = lambda folder: None
    results: Callable[[Path], dict] = lambda folder: {}
    check_torn: Callable[[Path, dict], None] = lambda folder, expected: None


def start(command: Command, folder: Path, **disturbance) -> subprocess.Popen:
    words = [word.format(folder=folder / "w") for word in command.words]
    # One device, as most users have.
    environment = {**os.environ, "XLA_FLAGS": QUICKLY_COMPILED,
                   "EDMF_DISTURB": json.dumps({"below": str(folder), **disturbance})}
    log = (folder.parent / "log").open("w")
    with log:
        return subprocess.Popen([sys.executable, str(ROOT / "tests" / "helpers" / "disturbed.py"), *words],
                                stdout=log, stderr=subprocess.STDOUT, env=environment)


def finish(process: subprocess.Popen, folder: Path) -> None:
    code = process.wait(HANG_S)
    assert code == 0, f"exit code {code}: {(folder.parent / 'log').read_text()[-3000:]}"


def fresh(command: Command, base: Path) -> Path:
    """An empty folder, prepared; the same path each time, because some results name it."""
    folder = base / "place" / "f"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command.prepare(folder / "w")
    return folder


def snapshot(folder: Path) -> list:
    return [(str(path), path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))]


def wait_for_change(process: subprocess.Popen, folder: Path) -> None:
    """Waits until the command changes something in the folder, or ends."""
    before = changed = snapshot(folder)
    while changed == before and process.poll() is None:
        time.sleep(0.002)
        try:
            changed = snapshot(folder)
        except FileNotFoundError:  # it vanished while we looked
            return


def kill_once(command: Command, folder: Path, draw: random.Random, by_change: bool, whole: tuple[int, float]) -> bool:
    """Starts the command and kills it, unless it ends before; returns whether it was killed.

    Args:
      by_change: at a change of a file rather than at a time.
      whole: changes of an undisturbed run, and its seconds after the first change.
    """
    changes, seconds = whole
    if by_change:
        process = start(command, folder, change=draw.randint(1, max(changes, 1)))
    else:
        process = start(command, folder)
        wait_for_change(process, folder)
        time.sleep(draw.random() * seconds)
        process.send_signal(signal.SIGKILL)
    code = process.wait(HANG_S)
    assert code in (0, -signal.SIGKILL), f"exit code {code}: {(folder.parent / 'log').read_text()[-3000:]}"
    return code != 0


def orphans(folder: Path) -> list[str]:
    """Whatever looks temporary."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*")
            if path.name not in LASTING and (path.name.startswith(".edmf") or "tmp" in path.name
                                             or "incomplete" in path.name or path.name.endswith("~"))]


def files(folder: Path) -> dict[str, str]:
    """The names and hashes of all files, whatever is in them."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in LASTING}


# --- the commands


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, data_dir):
    """Pairs of pictures, two sets of weights and a prepared data set."""
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(4)
    for side in "ab":
        (folder / side).mkdir()
    for i in range(4):
        picture = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (200, 150), interpolation=cv2.INTER_CUBIC)
        left, right = picture.copy(), picture.copy()
        left[:, :100], right[:, 100:] = (cv2.GaussianBlur(half, (0, 0), 3) for half in (left[:, :100], right[:, 100:]))
        for side, shot in zip("ab", (left, right)):
            cv2.imwrite(str(folder / side / f"shot{i}.png"), shot)
    save_weights(folder / "weights", WEIGHTS.params, WEIGHTS.config)
    save_weights(folder / "older", {k: {n: 2 * x for n, x in v.items()} for k, v in WEIGHTS.params.items()},
                 WEIGHTS.config, format="orbax")
    open_dataset("edmf_synthetic/tiny", str(data_dir), log=lambda line: None)
    return folder


def trained(folder: Path) -> dict:
    """Steps, losses, admissions and parameters, bit for bit; without what depends on the time of day."""
    lines = [json.loads(line) for line in (folder / "w" / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in line.items() if k not in ("seconds", "patches_per_second")} for line in lines]
    output = folder.parent / "exported"
    shutil.rmtree(output, ignore_errors=True)
    export_run(folder / "w", output)
    names = sorted(path.name for path in (folder / "w").iterdir() if path.name not in LASTING)
    steps = sorted(path.name for path in (folder / "w" / "checkpoints").iterdir())
    run = json.loads((folder / "w" / "run.json").read_text())
    sets = sorted(path.name for path in (folder / "w" / "memory").iterdir())
    return {"rows": rows, "params": params_sha256(load_weights(output).params), "names": names, "steps": steps,
            "sets": sets, "run": {k: v for k, v in run.items() if k != "begun"}}


def check_training(folder: Path, expected: dict) -> None:
    if (folder / "w" / "run.json").exists():
        json.loads((folder / "w" / "run.json").read_text())


def check_pictures(folder: Path, expected: dict) -> None:
    """A result that has its name is whole."""
    for name, digest in files(folder).items():
        if not Path(name).name.startswith(".edmf"):
            assert digest == expected[name], name


def check_weights(folder: Path, expected: dict) -> None:
    """At any moment there are weights: the older or the new ones."""
    digest = params_sha256(load_weights(folder / "w").params)
    assert digest in (expected["params"], expected["older"])


def evaluated(folder: Path) -> dict:
    return {name: digest for name, digest in files(folder).items() if not name.endswith("evaluation.json")}


def built(folder: Path) -> dict:
    """All files; of records what they say, because protobuf writes the fields of a map in any order."""
    tf = pytest.importorskip("tensorflow")
    found = files(folder)
    for path in folder.rglob("*.tfrecord*"):
        examples = [tf.train.Example.FromString(data.numpy()) for data in tf.data.TFRecordDataset(str(path))]
        found[path.relative_to(folder).as_posix()] = [example.SerializeToString(deterministic=True)
                                                      for example in examples]
    return found


def make(name: str, inputs: Path, data_dir: Path) -> Command:
    """One of `COMMANDS`."""
    if name == "train":
        return Command(["train", "--config", str(ROOT / "configs" / "edmf.py"), "--workdir", "{folder}",
                        f"--config.data.data_dir={data_dir}", *overrides(FIELDS)], results=trained,
                       check_torn=check_training)
    if name == "fuse":
        return Command(["fuse", "--pairs", str(inputs / "a"), str(inputs / "b"), "-o", "{folder}", "--align", "none"],
                       results=files, check_torn=check_pictures)
    if name == "evaluate":
        return Command(["evaluate", "--dataset", "edmf_synthetic/tiny", "--split", "train", "--data-dir", str(data_dir),
                        "--method", "average", "max-sf", "laplacian-pyramid", "--workdir", "{folder}",
                        "--metrics", "EN", "SF"], results=evaluated)
    if name == "export":
        older = params_sha256(load_weights(inputs / "older").params)
        return Command(["export", "--weights", str(inputs / "weights"), "--format", "numpy", "-o", "{folder}",
                        "--force"], prepare=lambda folder: shutil.copytree(inputs / "older", folder),
                       results=lambda folder: {"params": params_sha256(load_weights(folder / "w").params),
                                               "older": older, **files(folder)}, check_torn=check_weights)
    return Command(["data", "build", "edmf_synthetic/tiny", "--data-dir", "{folder}"], results=built)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_and_started_again_it_ends_with_the_same_bits(name, inputs, data_dir, tmp_path, record_property):
    command, draw = make(name, inputs, data_dir), random.Random(f"{SEED} {name}")
    folder = fresh(command, tmp_path)
    if name == "train":  # so that its programs are compiled
        finish(start(command, folder), folder)
        folder = fresh(command, tmp_path)
    process = start(command, folder, count=str(tmp_path / "count"))
    wait_for_change(process, folder)
    began = time.perf_counter()
    finish(process, folder)
    whole = int((tmp_path / "count").read_text()), time.perf_counter() - began
    expected = command.results(folder)
    assert expected and orphans(folder) == []

    def assert_as_undisturbed():
        assert orphans(folder) == []
        assert command.results(folder) == expected

    folder, killed, chain, share = fresh(command, tmp_path), 0, 0, 1.0
    while killed < KILLS:
        if kill_once(command, folder, draw, killed % 2 == 0, (int(whole[0] * share), whole[1] * share)):
            killed, chain, share = killed + 1, chain + 1, 1.0
            command.check_torn(folder, expected)
            if chain < CHAIN:
                continue
            finish(start(command, folder), folder)  # the same command goes on to the end
        else:
            share /= 2  # it ended before; the next one is killed earlier
        assert_as_undisturbed()
        folder, chain = fresh(command, tmp_path), 0
    if chain:
        finish(start(command, folder), folder)
        assert_as_undisturbed()
    record_property("kills", killed)

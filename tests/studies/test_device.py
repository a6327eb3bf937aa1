"""The prepared run for a GPU machine: its parts end in time, its tables say what was measured, its arms differ."""

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from edmf_jax.core.model import init_params, make_model
from edmf_jax.errors import UserError
from edmf_jax.training.config import load_config
from edmf_jax.training.state import TrainState
from edmf_jax.weights.store import load_weights
from studies.device import checks, keep, measuring, paper, prepare, run, scores, step, sweep, timings
from tests.helpers.files import ROOT


def quick_state(step, value):
    import jax

    shapes = jax.eval_shape(lambda key: init_params(make_model(16), key), jax.random.key(0))
    return TrainState(np.int32(step), jax.tree.map(lambda x: np.full(x.shape, value, np.float32), shapes), (), ())


@pytest.mark.parametrize("module", [checks, paper, prepare, run, step, sweep, timings])
def test_every_part_has_a_help(module, capsys):
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])
    assert f"usage: python -m {module.__name__} " in capsys.readouterr().out


def test_a_part_that_takes_too_long_is_ended(tmp_path):
    sleeping = run.Part("sleep", ["timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)"], 0.3)
    found = run.run_part(sleeping, tmp_path)
    assert found["out_of_time"] and found["exit_code"] < 0 and found["seconds"] < 30
    ended = run.run_part(run.Part("help", ["json.tool", "--help"], 60), tmp_path)
    assert (ended["exit_code"], ended["out_of_time"]) == (0, False)
    log = (tmp_path / "log.txt").read_text()
    assert "=== sleep: timeit" in log and "usage: " in log


def test_files_that_a_part_writes_are_copied_as_they_change(tmp_path):
    source, out = tmp_path / "params.npz", tmp_path / "out"
    out.mkdir()
    run.follow([source], out)
    assert not list(out.iterdir())
    source.write_text("one")
    run.follow([source], out)
    assert (out / "params.npz").read_text() == "one"


def test_the_cache_travels_as_far_as_it_fits(tmp_path, monkeypatch):
    cache, out = tmp_path / "cache", tmp_path / "out"
    cache.mkdir()
    out.mkdir()
    for name in "ab":
        (cache / name).write_bytes(bytes(10_000))
    monkeypatch.setattr(run, "_MOST_BYTES", 15_000)
    run.keep_cache(cache, out)
    import tarfile

    with tarfile.open(out / "cache.tar") as tar:
        assert len(tar.getnames()) == 1


def test_what_is_trained_and_at_what_rate(tmp_path):
    assert run.measured_rate(tmp_path) is None
    rows = [{"name": "edmf-jax: training step, 48 × 256²", "unit": "ms", "median": 20.0},
            {"name": "edmf-jax: training, 48 × 256²", "unit": "patches/s", "median": 2200.0}]
    (tmp_path / "times-training.json").write_text(json.dumps({"rows": rows}))
    assert run.measured_rate(tmp_path) == 2200.0
    part = run.training("paper", tmp_path, tmp_path, 100, 2200.0, ["--config.seed=1"])
    assert part.command[0] == "studies.device.paper" and "2200.0" in part.command and "--config.seed=1" in part.command
    assert run.training("chooser", tmp_path, tmp_path, 100, None, []).followed


def test_parts_that_are_asked_for(tmp_path):
    assert run.measurement("candidates", tmp_path, ("48", "256"), 100.0).command == [
        "studies.device.step", "candidates", "-o", str(tmp_path), "--shape", "48", "256", "--dtype", "bfloat16",
        "--seconds", "97"]
    assert not run.STEP_PARTS.keys() & run.MEASUREMENTS.keys() and run.STEP_PARTS.keys() == step.PARTS.keys()


def test_a_record_is_written_after_each_number(tmp_path):
    record = measuring.Record(tmp_path / "record.json", 60)
    record.add("one", 1)
    assert json.loads((tmp_path / "record.json").read_text()) == {"one": 1}
    assert record.guarded("late", 90, lambda: 2) is None and record.guarded("works", 1, lambda x: x, 3) == 3
    record.guarded("broken", 1, lambda: 1 / 0)
    assert json.loads((tmp_path / "record.json").read_text()) == {
        "one": 1, "late": "left out: no time", "broken": "failed: ZeroDivisionError: division by zero"}


def test_what_cannot_be_compiled_costs_nothing_else(capsys):
    assert step.compile_all({"broken": lambda: 1 / 0, "right": lambda: 1}, 2) == {"right": 1}
    assert "broken can't be compiled" in capsys.readouterr().out


def test_the_least_time_of_calls():
    waited = []
    assert measuring.least_ms(lambda: len(waited), waited.append, 0.001) >= 0
    assert len(waited) == 5 and measuring.since_start() > 0  # two to warm up, and three repeats


def test_patches_fit_the_time():
    config = load_config("edmf.py")
    assert paper.affordable_patches(config, 2200.0, 270.0) == 59376  # 48 × 1237; 10 epochs of them take 269.9 s
    assert paper.affordable_patches(config, 2200.0, 2700.0) == 106_250
    assert paper.affordable_patches(config, 1.0, -5.0) == 48


def test_arms_differ_by_more_than_a_factor():
    assert sweep.ARMS[0] == (1, 10, 10)
    assert {weight for arm in sweep.ARMS for weight in arm} == {1, 10, 100}
    for a, b in itertools.combinations(sweep.ARMS, 2):
        assert a[0] * b[1] != b[0] * a[1] or a[0] * b[2] != b[0] * a[2], (a, b)


def test_the_table_has_the_nearest_arm_first():
    base = {name: 1.0 for name in scores.PAPER}
    paper_row = {name: 1.0 + value for name, value in scores.PAPER.items()}
    assert scores.distance(scores.differences(paper_row, base)) == pytest.approx(0, abs=1e-9)
    one_spread = {name: paper_row[name] + scores.SPREAD[name] for name in scores.PAPER}
    assert scores.distance(scores.differences(one_spread, base)) == pytest.approx(1)
    record = {"mufusion": base, "arms": {"1-10-10": one_spread, "1-10-1": paper_row}, "pairs": 2, "crop": [4, 4],
              "steps": 9}
    lines = sweep.table(record).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| the paper", "| 1-10-1", "| 1-10-10"]
    assert lines[3].startswith("| 1-10-1 | -0.046 | +0.274 |") and lines[3].endswith("| 0.000 |")


def test_the_middle_of_a_pair():
    planes = np.arange(2 * 130 * 140).reshape(2, 130, 140)
    np.testing.assert_array_equal(scores.middle(planes, (128, 130)), planes[:, 1:129, 5:135])
    with pytest.raises(ValueError, match="no middle"):
        scores.middle(planes, (131, 128))


def test_parameters_are_kept_and_can_be_loaded(tmp_path):
    keeper = keep.KeepWeights(tmp_path, load_config("edmf.py"), {"run": "test"})
    keeper.save(7, quick_state(7, 0.5))
    assert not (tmp_path / "epochs.npz").exists()  # in the middle of an epoch
    keeper.save(10, quick_state(10, 1.0), {"sharpness": 1.0})
    keeper.save(20, quick_state(20, 2.0), {"sharpness": 1.0})
    weights = load_weights(tmp_path / "weights")
    assert weights.provenance["step"] == 20 and weights.params["conv1"]["bias"][0] == 2.0
    with np.load(tmp_path / "epochs.npz") as arrays:
        assert {name.partition("/")[0] for name in arrays} == {"10", "20"}
        assert arrays["10/conv1/kernel"].max() == 1.0


def test_kernels_of_a_gpu_and_operations_of_a_cpu_are_added_up():
    names = [{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "/device:GPU:0"}},
             {"ph": "M", "name": "thread_name", "pid": 1, "tid": 5, "args": {"name": "Stream #13(Compute)"}},
             {"ph": "M", "name": "thread_name", "pid": 1, "tid": 6, "args": {"name": "XLA Ops"}},
             {"ph": "M", "name": "process_name", "pid": 2, "args": {"name": "/host:CPU"}}]
    run_of = lambda name, tid, dur: {"ph": "X", "name": name, "pid": 1, "tid": tid, "dur": dur, "args": {}}
    gpu = [*names, run_of("wgrad_3", 5, 300), run_of("wgrad_4", 5, 100), run_of("fusion.2", 5, 50),
           run_of("fusion.2", 6, 50)]
    assert timings.kernel_times(gpu) == {"wgrad": (2, pytest.approx(4e-4)), "fusion": (1, pytest.approx(5e-5))}
    cpu = [*names, {"ph": "X", "name": "dot.3", "pid": 2, "tid": 1, "dur": 20, "args": {"hlo_op": "dot.3"}},
           {"ph": "X", "name": "python", "pid": 2, "tid": 1, "dur": 900, "args": {}}]
    assert timings.kernel_times(cpu) == {"dot": (1, pytest.approx(2e-5))}
    lines = timings.kernel_table(timings.kernel_times(gpu), 2).splitlines()
    assert lines[0] == "2 kernels and 0.23 ms a step (2 steps traced)" or lines[0].startswith("2 kernels and 0.22 ms")
    assert lines[4] == "| wgrad | 1.0 | 0.200 | 88.9 % |"


def test_a_check_that_cannot_be_run_is_wrong_and_the_others_go_on():
    def broken():
        raise RuntimeError("no such device")

    def right():
        yield checks.Check("equal", checks.relative([1.0, 2.0], [1.0, 2.0]), 1e-6)

    seen = []
    found = checks.run_checks((broken, right), report=lambda rows: seen.append(len(rows)))
    assert [check.is_right for check in found] == [False, True] and math.isnan(found[0].deviation)
    assert seen == [1, 2] and "| **WRONG** | broken could not be run |" in checks.table(found)


def test_the_stored_references_are_met_here():
    assert all(check.is_right for check in checks.run_checks((checks.check_filters,)))


def test_the_code_for_the_machine_is_complete(tmp_path):
    prepare.fill_code(tmp_path)
    assert (tmp_path / "studies/device/run.py").read_text() == (ROOT / "studies/device/run.py").read_text()
    assert (tmp_path / "tests/golden/train_step.npz").is_file() and not list(tmp_path.rglob("__pycache__"))
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import studies.device.run; print(studies.device.run.__file__)"
    out = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert out.stdout.startswith(str(tmp_path))


def test_a_folder_of_something_else_is_not_replaced(tmp_path, capsys):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["paper", "-o", str(tmp_path)])
    assert "holds something else" in capsys.readouterr().err and (tmp_path / "mine").is_file()
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["sweep"])
    assert "sweep needs --mufusion" in capsys.readouterr().err


def test_mistakes_in_fields_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no field 'train\.batsh'"):
        paper.main(["--data", "none", "--seconds", "60", "-o", str(tmp_path), "--config.train.batsh=3"])


@pytest.mark.slow
def test_a_training_on_a_pack_without_tensorflow(data_dir, tmp_path):
    """In a process that can't import TensorFlow: the log and parameters of every epoch, equal to a run on TFDS."""
    pytest.importorskip("tensorflow_datasets")
    from edmf_jax.data.pack import write_pack
    from edmf_jax.data.tfds_reader import open_dataset
    from edmf_jax.training.train import train
    from tests.helpers.runs import overrides, tiny_config

    write_pack(tmp_path / "tiny.pack", open_dataset("edmf_synthetic/tiny", str(data_dir), log=lambda line: None),
               "train", log=lambda line: None)
    fields = dict(data__dataset="edmf_synthetic/tiny", data__patches=13, data__patch_px=32, data__logical_shards=4,
                  train__batch=4, train__epochs=3, train__log_every_steps=1, train__learning_rate=1e-3, model__width=2)
    code = ("import sys; sys.modules['tensorflow'] = sys.modules['tensorflow_datasets'] = None; "
            "from studies.device.paper import main; main(sys.argv[1:])")
    subprocess.run([sys.executable, "-c", code, "--data", str(tmp_path / "tiny.pack"), "--seconds", "600", "-o",
                    str(tmp_path / "out"), *overrides(fields)], check=True, cwd=ROOT)
    train(tiny_config(data_dir), tmp_path / "tfds", log=lambda line: None)
    logs = [[{k: v for k, v in json.loads(line).items() if k not in ("seconds", "patches_per_second")}
             for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
            for name in ("out/training", "tfds")]
    assert logs[0] == logs[1]
    assert load_weights(tmp_path / "out" / "weights").provenance["step"] == 12

"""Whole runs: the log, resuming bit for bit, interruption, refusals."""

import dataclasses
import functools
import json
import signal

import jax
import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.runtime.interrupt import Interrupted
from edmf_jax.training import loop, room, state
from edmf_jax.training import train as train_module
from edmf_jax.training.checkpoint import Checkpoints
from edmf_jax.training.device_data import TrainingSet, device_mesh
from edmf_jax.training.export_run import export_run
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.train import train
from edmf_jax.weights.store import load_weights
from tests.helpers.runs import prepare_run, tiny_config


@pytest.fixture(scope="module", autouse=True)
def shared_programs():
    """Runs of equal configurations share their steps, which each would trace anew."""
    make_optimizer, made = train_module.make_optimizer, {}

    def shared_optimizer(config, layout):
        rate = config.train.learning_rate, config.train.warmup_steps, config.train.decay_epochs
        return made.setdefault((*rate, layout), make_optimizer(config, layout))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "make_optimizer", shared_optimizer)
        for name in ("make_train_step", "make_epoch_end"):
            patch.setattr(loop, name, functools.cache(getattr(loop, name)))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir, shared_programs):
    """A finished run of three epochs on four devices: its folder, final state and printed lines."""
    folder, lines = tmp_path_factory.mktemp("run"), []
    final = train(tiny_config(data_dir), folder, log=lines.append)
    return folder, final, lines


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_log_is_complete(run):
    folder, final, lines = run
    steps = [r for r in records(folder) if "event" not in r]
    ends = [r for r in records(folder) if r.get("event") == "epoch_end"]
    assert [r["step"] for r in steps] == list(range(1, 13))
    assert [r["step"] for r in ends] == [4, 8, 12]
    assert {"loss", "current_pixel", "current_grad", "current_ssim", "memory_pixel", "memory_grad", "memory_ssim",
            "score", "ratio", "memory_ratios", "patches_per_second", "epoch"} <= set(steps[0])
    assert steps[-1]["patches_per_second"] > 0
    assert ends[-1]["admitted"] is True
    assert ends[-1]["held_epochs"] == [1, 2, 3, -1]
    assert all(np.isfinite(r["loss"]) for r in steps)
    assert int(final.step) == 12
    assert any("epoch 3/3" in line for line in lines)


def test_the_folder_records_configuration_and_versions(run):
    record = json.loads((run[0] / "run.json").read_text())
    assert record["config"]["data"]["patches"] == 13
    assert {"jax", "flax", "edmf-jax"} <= set(record["versions"])


def test_newest_and_best_are_kept(run):
    checkpoints = Checkpoints(run[0])
    sharpness = {r["step"]: r["sharpness"] for r in records(run[0]) if "event" in r}
    best = max(sharpness, key=sharpness.get)
    assert checkpoints.best_step() == best
    assert set(checkpoints.steps) == {8, 12, best}
    checkpoints.close()


@pytest.mark.parametrize("devices", [1, 2])
def test_a_checkpoint_of_four_devices_restores_on_fewer(run, data_dir, devices, monkeypatch):
    folder, final, _ = run
    config = tiny_config(data_dir)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), (state.DEVICES,))
    prepared = prepare_run(config, mesh)
    checkpoints = Checkpoints(folder)
    restored = train_module.restore_or_init(prepared, checkpoints, lambda line: None)
    checkpoints.close()
    assert restored.bank.images.sharding.num_devices == devices
    assert_same(restored, final)


def test_a_finished_run_resumes_for_more_epochs(run, data_dir, tmp_path):
    """2 epochs, then 3, equal 3 at once: parameters, optimizer and memory, bit for bit."""
    config = tiny_config(data_dir, train__epochs=2)
    train(config, tmp_path, log=lambda line: None)
    config.train.epochs = 3
    resumed = train(config, tmp_path, log=lambda line: None)
    assert_same(resumed, run[1])
    without_speed = lambda r: {k: v for k, v in r.items() if k not in ("seconds", "patches_per_second")}
    assert list(map(without_speed, records(tmp_path))) == list(map(without_speed, records(run[0])))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_and_resumes_in_mid_epoch(run, data_dir, tmp_path, monkeypatch, number):
    write, stopped = train_module.MetricsLog.write, []

    def write_and_interrupt(self, record):
        write(self, record)
        if record["step"] == 6 and not stopped:  # its row comes while the next step is done
            stopped.append(True)
            signal.raise_signal(number)

    monkeypatch.setattr(train_module.MetricsLog, "write", write_and_interrupt)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="saved at step 7 of 12") as caught:
        train(tiny_config(data_dir), tmp_path, log=lambda line: None)
    assert caught.value.signal == number
    assert signal.getsignal(number) == before
    lines = []
    assert_same(train(tiny_config(data_dir), tmp_path, log=lines.append), run[1])
    assert "going on from step 7 of 12" in lines[-3:] or any("step 7 of 12" in line for line in lines)


@pytest.mark.parametrize("format", ["numpy", "orbax"])
def test_exported_parameters_equal_those_of_the_run(run, tmp_path, format):
    step = export_run(run[0], tmp_path / "weights", format=format)
    assert step == 12
    weights = load_weights(tmp_path / "weights")
    assert_same(weights.params, jax.device_get(run[1].params))
    assert weights.config["data"]["patches"] == 13
    assert weights.provenance["step"] == 12


def test_export_errors_list_the_existing_steps(run, tmp_path):
    with pytest.raises(UserError, match=r"--step=7: the steps saved are (\d+, )+12"):
        export_run(run[0], tmp_path / "w", step="7")
    with pytest.raises(UserError, match="there is no run here"):
        export_run(tmp_path, tmp_path / "w")
    assert export_run(run[0], tmp_path / "best", step="best") in (4, 8, 12)


def test_another_configuration_is_refused(run, data_dir):
    config = tiny_config(data_dir, train__learning_rate=5e-4, focus__window_px=7)
    message = r"focus.window_px \(7 here, 19 there\), train.learning_rate \(0.0005 here, 0.001 there\)"
    with pytest.raises(UserError, match=message):
        train(config, run[0])


def test_other_data_is_refused(run, data_dir, monkeypatch):
    monkeypatch.setattr(TrainingSet, "fingerprint", property(lambda self: "other"))
    with pytest.raises(UserError, match="began on other pictures"):
        train(tiny_config(data_dir, train__epochs=9), run[0], log=lambda line: None)


def test_too_large_a_bank_is_refused_before_anything_is_computed(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "free_host_bytes", lambda: 1e6)
    monkeypatch.setattr(train_module, "restore_or_init", lambda *arguments: pytest.fail("it went on"))
    message = r"memory\.kind=images: [\d.]+ GB are needed in the host's memory.*ways out: set memory\.kind to snapshots"
    with pytest.raises(UserError, match=message):
        train(tiny_config(data_dir, memory__kind="images"), tmp_path / "w", log=lambda line: None)
    assert not (tmp_path / "w" / "run.json").exists() and not (tmp_path / "w" / "metrics.jsonl").exists()


@pytest.mark.parametrize(("fields", "message"), [
    ({"train__batch": 6}, "train.batch=6 can't be divided among data.logical_shards=4"),
    ({"data__logical_shards": 2, "train__batch": 4}, "can't be divided among 4 devices"),
    ({"data__patch_px": 200}, "data.patch_px=200 is larger than image"),
    ({"data__patch_px": 8}, "at least 16 px"),
    ({"focus__window_px": 8}, "focus.window_px=8: must be odd"),
    ({"focus__window_px": 65}, "half of it must be less than data.patch_px=32"),
    ({"data__patches": 10**6}, "hold only"),
    ({"data__dataset": "nonesuch"}, "nonesuch"),
    ({"data__split": "validation"}, "data.split='validation'"),
    ({"memory__kind": "disk"}, "memory.kind='disk': must be auto, images, host or snapshots"),
    ({"model__dtype": "int8"}, "model.dtype='int8'"),
    ({"train__epochs": 0}, "train.epochs=0"),
    ({"seed": -1}, "seed=-1"),
])
def test_impossible_configurations_are_refused_with_the_reason(data_dir, tmp_path, fields, message):
    with pytest.raises(UserError, match=message):
        train(tiny_config(data_dir, **fields), tmp_path / "w", log=lambda line: None)


def test_the_log_drops_lines_past_the_checkpoint_and_torn_lines(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    log = train_module.MetricsLog(tmp_path, 2)
    log.write({"step": 3, "again": True})
    assert records(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_bfloat16_trains(data_dir, tmp_path):
    final = train(tiny_config(data_dir, model__dtype="bfloat16", train__epochs=1), tmp_path, log=lambda line: None)
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(final.params))
    assert np.isfinite(records(tmp_path)[-2]["loss"])


@pytest.mark.parametrize("fields", [{"train__steps_per_call": 3, "checkpoint__every_steps": 2}])
def test_several_steps_in_one_call_are_the_same_run(run, data_dir, tmp_path, fields):
    """Calls end at the end of an epoch and at checkpoints.  It is another program, so equal except for rounding."""
    final = train(tiny_config(data_dir, train__log_every_steps=2, **fields), tmp_path, log=lambda line: None)
    assert int(final.step) == 12
    logged = {r["step"]: r["loss"] for r in records(tmp_path) if "event" not in r}
    expected = {r["step"]: r["loss"] for r in records(run[0]) if "event" not in r and r["step"] % 2 == 0}
    assert logged == pytest.approx(expected, rel=1e-3)
    assert [r["admitted"] for r in records(tmp_path) if "event" in r] == [True] * 3


def test_a_diverged_run_names_step_patches_and_checkpoint_and_saves_nothing_more(data_dir, tmp_path):
    train(tiny_config(data_dir, train__epochs=1), tmp_path, log=lambda line: None)
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    prepared = prepare_run(tiny_config(data_dir), device_mesh())
    restored = train_module.restore_or_init(prepared, checkpoints, lambda line: None)
    spoiled = dataclasses.replace(restored, params=jax.tree.map(lambda x: x * np.nan, restored.params),
                                  step=jax.numpy.asarray(5, "int32"))
    checkpoints.save(5, spoiled)
    checkpoints.close()
    with pytest.raises(UserError, match=r"diverged at step 6: the loss is nan.*its patches: \d+(, \d+)*; the last good "
                                        r"checkpoint is step 5"):
        train(tiny_config(data_dir), tmp_path, log=lambda line: None)
    last = records(tmp_path)[-1]
    assert last["event"] == "diverged" and last["step"] == 6 and len(last["patches"]) == 4
    reader = Checkpoints(tmp_path)
    assert reader.steps[-1] == 5
    reader.close()


def test_a_checkpoint_is_what_was_saved_even_if_the_state_is_overwritten_at_once(run, data_dir, tmp_path):
    config = tiny_config(data_dir)
    prepared = prepare_run(config, device_mesh())
    reader = Checkpoints(run[0])
    current = train_module.restore_or_init(prepared, reader, lambda line: None)
    reader.close()
    checkpoints = Checkpoints(tmp_path, keep_last=1)
    checkpoints.save(12, current)
    spoil = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    jax.block_until_ready(spoil(current))
    checkpoints.wait()
    assert_same(train_module.restore_or_init(prepared, checkpoints, lambda line: None), run[1])
    checkpoints.close()


def test_a_run_starts_from_given_weights(run, data_dir, tmp_path):
    export_run(run[0], tmp_path / "weights")
    config = tiny_config(data_dir, train__init=str(tmp_path / "weights"))
    first = train_module.initial_state(prepare_run(config, device_mesh()))
    assert_same(jax.device_get(first.params), load_weights(tmp_path / "weights").params)
    assert int(first.step) == 0 and not np.asarray(first.bank.images).any()
    config.model.width = 8
    with pytest.raises(UserError, match=r"weights of model.width=2, and model.width=8 .*--config.model.width=2"):
        train(config, tmp_path / "v", log=lambda line: None)
    assert not (tmp_path / "v").exists()


def test_profile_and_tensorboard(data_dir, tmp_path):
    lines = []
    train(tiny_config(data_dir, train__epochs=2), tmp_path, profile_steps=3, tensorboard=True, log=lines.append)
    assert list((tmp_path / "profile").rglob("perfetto_trace.json.gz"))
    assert any("trace of steps 2 to 4" in line for line in lines)
    assert sum(p.stat().st_size for p in (tmp_path / "tensorboard").iterdir()) > 500
    assert any(line.startswith("first step after") for line in lines)


def test_the_rate_can_warm_up_and_decay(data_dir):
    layout = PatchLayout(16, 4, 4)  # 4 steps an epoch
    config = tiny_config(data_dir, train__warmup_steps=2, train__decay_epochs=2)
    optimizer = train_module.make_optimizer(config, layout)
    params = {"w": np.ones(3, np.float32)}
    opt_state, sizes = optimizer.init(params), []
    for _ in range(9):
        updates, opt_state = optimizer.update({"w": np.ones(3, np.float32)}, opt_state, params)
        sizes.append(float(-updates["w"][0]))
    # Under a constant gradient Adam's step is the rate itself.
    assert sizes[:3] == pytest.approx([0, 5e-4, 1e-3], rel=1e-3, abs=1e-9)
    assert sizes[2] > sizes[4] > sizes[6] > sizes[8] == pytest.approx(0, abs=1e-9)


def test_snapshots_train_and_resume(data_dir, tmp_path):
    lines = []
    whole = train(tiny_config(data_dir, memory__kind="snapshots"), tmp_path / "a", log=lines.append)
    train(tiny_config(data_dir, memory__kind="snapshots", train__epochs=2), tmp_path / "b", log=lines.append)
    assert_same(train(tiny_config(data_dir, memory__kind="snapshots"), tmp_path / "b", log=lines.append), whole)
    assert np.asarray(whole.bank.epochs).tolist() == [1, 2, 3, -1]
    third = jax.tree.map(lambda x: x[2], whole.bank.params)
    assert_same(third, whole.params)
    # Left to itself it resumes with snapshots, although images fit.
    lines.clear()
    train(tiny_config(data_dir, train__epochs=4), tmp_path / "b", log=lines.append)
    assert any(line.startswith("memory: snapshots, as this run began") for line in lines)
    assert json.loads((tmp_path / "b" / "run.json").read_text())["memory_kind"] == "snapshots"


@pytest.mark.slow
def test_a_bank_in_host_memory_trains_resumes_and_equals_the_one_on_the_devices(run, data_dir, tmp_path):
    lines = []
    train(tiny_config(data_dir, memory__kind="host", train__epochs=2), tmp_path, log=lines.append)
    assert any(line.startswith("memory: host, as asked for") for line in lines)
    hosted = train(tiny_config(data_dir, memory__kind="host"), tmp_path, log=lines.append)
    assert hosted.bank.images.sharding.memory_kind == "pinned_host"
    assert "going on from step 8 of 12" in lines
    logged = [{r["step"]: r["loss"] for r in records(folder) if "event" not in r} for folder in (tmp_path, run[0])]
    assert logged[0] == pytest.approx(logged[1], rel=1e-3)
    assert np.asarray(hosted.bank.epochs).tolist() == np.asarray(run[1].bank.epochs).tolist()
    # The bank is the same in both places: the run may resume with it on the devices.
    on_devices = train(tiny_config(data_dir, memory__kind="images", train__epochs=4), tmp_path, log=lines.append)
    assert on_devices.bank.images.sharding.memory_kind == "device" and int(on_devices.step) == 16
    with pytest.raises(UserError, match=r"memory\.kind=snapshots: this run began with images"):
        train(tiny_config(data_dir, memory__kind="snapshots"), tmp_path, log=lines.append)


def test_state_is_one_record(run):
    assert {f.name for f in dataclasses.fields(run[1])} == {"step", "params", "opt_state", "bank"}

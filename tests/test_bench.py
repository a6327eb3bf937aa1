"""The benchmark: PyTorch and ours are the same training; the table and the JSON say all they should."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import ROOT, nest

from benchmarks import __main__ as command
from benchmarks import (
    bank,
    epoch,
    fusing,
    kinds,
    large,
    peaks,
    registration,
    registration_trials,
    saving,
    startup,
    table,
    timing,
    training,
)
from benchmarks.inputs import Shape, make_inputs
from benchmarks.ours import Ours

SMALL = Shape(2, 32)


@pytest.fixture(scope="module")
def torch_training():
    pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    from benchmarks.torch_reference import Training

    return Training


@pytest.fixture(scope="module")
def inputs():
    return make_inputs(SMALL)


@pytest.fixture(scope="module")
def first_step(inputs):
    """Our case after its first step, the loss before it and Adam's mean of gradients after it."""
    ours = Ours(inputs)
    loss, = ours.steps.play()
    return ours, loss, jax.device_get(ours.steps.state.opt_state[0].mu)


@pytest.mark.parametrize("channels_last", [True, False])
def test_torch_has_our_loss_and_gradients(inputs, first_step, torch_training, channels_last):
    _, own_loss, moments = first_step
    theirs = torch_training(inputs, channels_last=channels_last)
    loss = theirs.loss(theirs.order[0])[0]
    loss.backward()
    assert own_loss == pytest.approx(loss.item(), rel=1e-5)
    for name, parameters in moments.items():
        layer = getattr(theirs.net, name)
        kernel = layer.weight.grad.numpy().transpose(2, 3, 1, 0)
        for own, there in ((parameters["kernel"], kernel), (parameters["bias"], layer.bias.grad.numpy())):
            # After one step from zero the mean is a tenth of the gradient.
            assert np.abs(10 * own - there).max() <= 1e-4 * np.abs(there).max(), name


def test_torch_trains_as_we_do(inputs, first_step, torch_training):
    """Losses of six steps, so that every batch came and the first two came again: cutting, memory, Adam."""
    ours, first, _ = first_step
    theirs = torch_training(inputs, channels_last=True)
    own = [first, *(ours.steps.play()[0] for _ in range(5))]
    np.testing.assert_allclose(own, [theirs.step().item() for _ in own], rtol=1e-5)
    assert len(set(own)) == 6


@pytest.mark.slow
def test_many_steps_in_one_call_are_the_same_steps(inputs):
    one, many = Ours(inputs), Ours(inputs, steps_per_call=3)
    np.testing.assert_allclose([one.steps.play()[0] for _ in range(3)], many.steps.play(), rtol=1e-6)


def test_torch_equals_the_independent_values(reference, torch_training):
    data = reference("train_step")
    params = {f"param/{layer}/{kind}": value for layer, kinds in nest(data, "param/").items()
              for kind, value in kinds.items()}
    theirs = torch_training({"levels": data["sources"], "remembered": data["memory"], "learning_rate": np.float32(1e-4),
                             "order": np.arange(4, dtype=np.int32)[None], **params}, channels_last=False)
    values = [theirs.step().item() for _ in range(4)]
    np.testing.assert_allclose(values, data["loss_after_adam_steps"], rtol=1e-5)


def test_the_command_without_torch(monkeypatch, tmp_path, capsys):
    """The rows of ours are measured, those of PyTorch say why they are left out; the JSON has every key."""
    find = importlib.util.find_spec
    monkeypatch.setattr(training.importlib.util, "find_spec",
                        lambda name, *rest: None if name == "torch" else find(name, *rest))
    monkeypatch.setattr(training, "SHAPES", (SMALL,))
    monkeypatch.setattr(command.process, "prepare", lambda: None)
    target = tmp_path / "new" / "bench.json"
    assert command.main(["--quick", "--repeats", "2", "--only", "training", "epoch", "--json", str(target)]) == 0
    report = json.loads(target.read_text())
    assert {"device", "processor", "versions", "XLA_FLAGS", "load average at the start",
            "load average at the end"} <= set(report["environment"])
    keys = {field.name for field in dataclasses.fields(table.Row)}
    assert all(set(row) == keys for row in report["rows"])
    rows = {(row["name"], row["unit"]): row for row in report["rows"]}
    ratio = rows["edmf-jax: whole step ÷ network forward + backward, 2 × 32²", "ratio"]
    assert ratio["repeats"] == 2
    assert 0 < ratio["min"] <= ratio["median"]
    for name, unit in (("training", "patches/s"), ("training step", "ms"), ("network forward", "ms"),
                       ("training step", "GFLOP/s"), ("network forward + backward", "GFLOP/s"),
                       ("memory of the compiled step", "MB"), ("peak memory of the process", "MB")):
        assert rows[f"edmf-jax: {name}, 2 × 32²", unit]["median"] > 0
    for name in ("PyTorch channels_last", "PyTorch default layout"):
        row = rows[f"{name}: training step, 2 × 32²", "ms"]
        assert "pip install torch==2.13.0" in row["left_out"]
        assert row["median"] is None
    out = capsys.readouterr().out
    assert "- load average at the start: " in out
    assert "| PyTorch channels_last: training step, 2 × 32² | ms |  |  |  | left out: torch is not installed" in out


def test_a_failing_group_is_said_and_the_others_stay(monkeypatch, tmp_path, capsys):
    def rows(name, repeats, quick):
        if name == "bank":
            raise RuntimeError("it broke\nbadly")
        return [table.measured(name, "s", [1.0])]

    monkeypatch.setattr(command, "group_rows", rows)
    monkeypatch.setattr(command.process, "prepare", lambda: None)
    target = tmp_path / "bench.json"
    assert command.main(["--only", "fusing", "bank", "epoch", "--json", str(target)]) == 1
    found = json.loads(target.read_text())["rows"]
    assert [row["name"] for row in found] == ["fusing", "bank", "epoch"]
    assert found[1]["left_out"] == "failed: RuntimeError: it broke badly"
    assert "RuntimeError" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_measured(monkeypatch, tmp_path):
    def rows(name, repeats, quick):
        if name == "bank":
            raise KeyboardInterrupt
        return [table.measured(name, "s", [1.0])]

    monkeypatch.setattr(command, "group_rows", rows)
    monkeypatch.setattr(command.process, "prepare", lambda: None)
    target = tmp_path / "bench.json"
    assert command.main(["--only", "fusing", "bank", "epoch", "--json", str(target)]) == 1
    found = [(row["name"], row["left_out"]) for row in json.loads(target.read_text())["rows"]]
    assert found == [("fusing", ""), ("bank", "stopped by Ctrl-C"), ("epoch", "stopped by Ctrl-C")]


def test_different_training_is_not_compared(monkeypatch, tmp_path):
    losses = {"edmf-jax": [1.0, 0.9], "PyTorch channels_last": [1.0, 0.9], "PyTorch default layout": [1.0, 0.8998]}

    class Fake:
        def __init__(self, case, inputs, *, precise):
            self.case = case
            assert precise

        def ask(self, *words):
            return losses[self.case]

        def close(self):
            pass

    monkeypatch.setattr(training, "Worker", Fake)
    assert training.compare_losses(tmp_path) == (
        "not the same training: the loss of step 2 is 0.9 here and 0.8998 there")
    losses["PyTorch default layout"] = [1.00001, 0.9]
    assert training.compare_losses(tmp_path) == ""


def test_markdown():
    rows = [table.measured("a | b", "ms", [2.0, 1.0, 6.0], "note"), table.left_out("c", "s", "no\n disk")]
    assert table.markdown(rows, {"device": "x"}).splitlines() == [
        "- device: x",
        "",
        "| what | unit | min | median | repeats | note |",
        "| --- | --- | ---: | ---: | ---: | --- |",
        "| a / b | ms | 1.00 | 2.00 | 3 | note |",
        "| c | s |  |  |  | left out: no disk |",
    ]


@pytest.mark.parametrize(("value", "text"), [(None, ""), (0, "0"), (1234.5, "1234"), (99.94, "99.9"), (1.234, "1.23"),
                                             (0.1234, "0.123"), (0.000123456, "0.000123"), (-0.5, "-0.500")])
def test_numbers_have_three_digits(value, text):
    assert table.number(value) == text


def test_cases_are_interleaved_and_ratios_go_by_repeat():
    played = []
    cases = {name: lambda name=name: played.append(name) or len(played) for name in "abc"}
    seconds = timing.interleave(cases, 2)
    assert played == list("abcabc")
    assert seconds == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}
    assert timing.ratios(seconds["b"], seconds["a"]) == [2, 1.25]


def test_a_short_call_is_timed_many_at_once(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    calls = []

    def call():
        calls.append(1)
        clock.now += 0.03

    play = timing.stopwatch(call, units=3, warm_up=1)
    assert play() == pytest.approx(0.01)
    assert len(calls) == 1 + 7


def test_peaks_by_device_kind():
    assert peaks.peak_of("NVIDIA H200").gb_per_s == 4800
    assert peaks.peak_of("NVIDIA H100 80GB HBM3").gb_per_s == 3350
    assert peaks.peak_of("NVIDIA H100 PCIe").gb_per_s == 2000
    assert peaks.peak_of("NVIDIA L40S") != peaks.peak_of("NVIDIA L4")
    assert peaks.peak_of("TPU v5 lite").tflops == 197
    assert peaks.peak_of("cpu") is None


@pytest.mark.parametrize(("kind", "share"), [("NVIDIA H200", 100 * 1e12 / 494.5e12), ("Abacus 1", None)])
def test_shares_of_the_peak(monkeypatch, kind, share):
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="gpu", device_kind=kind)])
    seconds = {("edmf-jax", operation): [0.5, 0.5] for operation in ("step", "network")}
    modules = {operation: {"flops": 5e11, "bytes_accessed": 1.2e12} for operation in ("step", "network")}
    rows = {row.unit: row for row in training.rate_rows(SMALL, seconds, modules)}
    assert rows["GFLOP/s"].median == pytest.approx(1000)
    if share is None:
        assert "Abacus 1 is not in benchmarks/peaks.py" in rows["% of FLOP/s"].left_out
        assert rows["% of bandwidth"].left_out
    else:
        assert rows["% of FLOP/s"].median == pytest.approx(share)
        assert rows["% of bandwidth"].median == pytest.approx(50)


def test_bank_and_data_rows():
    admission, data = bank.admission_row(1, 64), bank.data_row(1, 2)
    assert admission.unit == "ms"
    assert admission.median > 0
    assert data.unit == "MB/s"
    assert data.median > 0


@pytest.mark.slow
def test_one_epoch_small():
    row = epoch.epoch_row(16, 32, 4, pairs=2, pair_px=(64, 64), limit_s=60, steps_per_call=2)
    assert row.median > 0
    assert row.note.endswith("played whole")


def test_kinds_of_memory_rows():
    rows = kinds.shape_rows(Shape(2, 32), 1)
    assert [row.unit for row in rows] == ["ms"] * 3 + ["ratio"] * 2
    assert all(row.median > 0 for row in rows)


@pytest.mark.slow
def test_saving_rows(data_dir):
    wait, ratio = saving.rows(1, quick=True)
    assert wait.repeats == ratio.repeats == saving.QUICK_EPOCHS - 1
    assert 0 < wait.min < 100 and ratio.min > 0.3
    assert "19 MB a save" in wait.note


def test_fusing_rows_say_how(monkeypatch):
    row, = fusing.rows(1, sizes={1: (40, 64)})
    assert "in one piece" in row.note
    monkeypatch.setattr(fusing, "free_bytes", lambda: 2 * 10**6)
    row, = fusing.rows(1, sizes={1: (40, 64)})
    assert "in exact pieces" in row.note
    monkeypatch.setattr(fusing, "free_bytes", lambda: 10**5)
    row, = fusing.rows(1, sizes={48: (40, 64)})
    assert row.left_out == "takes about 0.0 GB, 0.0 GB are free"


def test_startup_reads_whole_lines_only(tmp_path):
    log = tmp_path / "metrics.jsonl"
    assert startup.logged_steps(log) == 0
    log.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert startup.logged_steps(log) == 2


def test_startup_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(startup, "NEEDED", ("no_such_package",))
    assert all("no_such_package" in row.left_out for row in startup.rows(1))


SMALL_MATERIAL = registration_trials.Material(size=(240, 200))


def test_registration_rows_say_what_was_wrong(monkeypatch):
    monkeypatch.setattr(registration, "QUICK_TRIALS", 2)
    monkeypatch.setattr(registration.registration, "METHODS", ("pso-sift", "ecc"))
    rows = {row.name: row for row in registration.rows(1, quick=True, given=SMALL_MATERIAL)}
    assert set(rows) == {f"registration, {what}" for what in (
        "rendered, pso-sift: mean corner error", "rendered, ecc: mean corner error",
        "unrelated, pso-sift: called confident", "unrelated, ecc: called confident")}
    assert rows["registration, unrelated, pso-sift: called confident"].median == 0
    assert "confident and wrong 0" in rows["registration, rendered, pso-sift: mean corner error"].note


def test_a_stopped_registration_run_goes_on(monkeypatch, tmp_path):
    kept, ran = tmp_path / "kept.jsonl", []

    def run(trial, method, model):
        ran.append((trial.kind, method))
        return {"error": float(len(ran))}

    monkeypatch.setattr(registration, "run", run)
    first = registration.run_all(SMALL_MATERIAL, 2, ["ecc"], kept, kinds=["rendered"])
    assert ran == [("rendered", "ecc")] * 2
    lines = kept.read_text()
    kept.write_text(lines[:-5])  # killed while the last line was written
    again = registration.run_all(SMALL_MATERIAL, 2, ["ecc", "pso-sift"], kept, kinds=["rendered"])
    assert ran[2:] == [("rendered", "pso-sift"), ("rendered", "ecc"), ("rendered", "pso-sift")]
    assert again[0] == first[0] and [r["error"] for r in again] == [1, 3, 4, 5]
    other = registration_trials.Material(seed=1, size=(240, 200))
    registration.run_all(other, 1, ["ecc"], kept, kinds=["rendered"])
    assert len(ran) == 6  # another seed is another run


def test_registration_trials_have_the_truth_that_they_say(rng):
    trial = registration_trials.make_trial(SMALL_MATERIAL, "rendered", 3)
    again = registration_trials.make_trial(SMALL_MATERIAL, "rendered", 3)
    np.testing.assert_array_equal(trial.moving, again.moving)
    picture = rng.integers(0, 256, (60, 80, 3), np.uint8)
    picture = np.repeat(np.repeat(picture, 4, 0), 4, 1)
    first, second = registration_trials.two_shots(rng, picture, np.eye(3))
    assert first.shape == second.shape == picture.shape
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.7
    strange = registration_trials.make_trial(SMALL_MATERIAL, "unrelated", 0)
    assert strange.truth is None and strange.reference.shape == strange.moving.shape


def test_the_memory_of_a_command_is_its_own(tmp_path):
    """Shots of the size asked for; a child's peak that grows with what it takes, and a failure that is said."""
    paths = large.make_shots(str(tmp_path), 0.05, 3)
    assert len(paths) == 3 and large.size_of(12) == (3000, 4000) and large.bracket("30x24") == (30, 24)
    # From a process of its own, for this one is large.
    code = ("import sys; from benchmarks.large import measure\n"
            "for n in (10**6, 2 * 10**8):\n"
            "    print(measure([sys.executable, '-c', f\"x = bytearray(b'1') * {n}\"]).peak_bytes)")
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    small, big = map(int, said.split())
    assert small < 1e8 and 2e8 < big < 2.3e8
    with pytest.raises(RuntimeError, match="ended with 3"):
        large.measure([sys.executable, "-c", "raise SystemExit(3)"])

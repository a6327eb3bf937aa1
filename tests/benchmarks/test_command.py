"""The command: its table and its JSON, groups that fail, Ctrl-C, training that can't be compared."""

import dataclasses
import importlib.util
import json

import pytest

from benchmarks import __main__ as command
from benchmarks import table, training
from benchmarks.inputs import Shape

SMALL = Shape(2, 32)


@pytest.mark.slow
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
        "not the same training: the loss of step 2 is 0.9 in edmf-jax and 0.8998 in PyTorch default layout")
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

"""The groups of rows: their units and notes, timing, peak rates, memory of a command."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from benchmarks import bank, epoch, forward, fusing, kinds, large, peaks, saving, startup, timing, training
from benchmarks.inputs import Shape
from tests.helpers.files import ROOT

SMALL = Shape(2, 32)


def test_cases_are_interleaved_and_ratios_go_by_repeat():
    calls = []
    cases = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}
    seconds = timing.interleave(cases, 2)
    assert calls == list("abcabc")
    assert seconds == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}
    assert timing.ratios(seconds["b"], seconds["a"]) == [2, 1.25]


def test_a_short_call_is_timed_many_at_once(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    calls = []

    def call():
        calls.append(1)
        clock.now += 0.03

    measure = timing.stopwatch(call, units=3, warm_up=1)
    assert measure() == pytest.approx(0.01)
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
    assert row.note.endswith("run completely")


@pytest.mark.slow
def test_kinds_of_memory_rows():
    rows = kinds.shape_rows(Shape(2, 32), 1)
    assert [row.unit for row in rows] == ["ms"] * 3 + ["ratio"] * 2
    assert all(row.median > 0 for row in rows)


@pytest.mark.slow
def test_saving_rows(data_dir, monkeypatch):
    monkeypatch.setattr(saving, "QUICK_EPOCHS", 2)
    wait, ratio, *of_bank = saving.rows(1, quick=True)
    assert wait.repeats == ratio.repeats == 1  # the first epoch compiles, so it is not counted
    assert 0 < wait.min < 100 and ratio.min > 0.3
    assert "a state of 19 MB" in wait.note
    assert [row.unit for row in of_bank] == ["s/GB", "s/GB", "ratio"] and all(row.min > 0 for row in of_bank)
    assert of_bank[2].min < 1.3


def test_fusing_rows_say_how(monkeypatch):
    row, = fusing.rows(1, sizes={1: (40, 64)})
    assert "preset paper" in row.note and row.median > 0
    monkeypatch.setattr(fusing, "free_bytes", lambda: 10**5)
    row, = fusing.rows(1, sizes={48: (40, 64)})
    assert row.left_out == "takes about 0.5 GB, 0.0 GB are free"


def test_the_forward_pass_and_a_whole_fuse_are_timed():
    rows = forward.rows(1, shapes=((1, 32, 32),))
    names = [row.name.split(":")[0] for row in rows]
    assert names[0] == "edmf-jax, JAX" and rows[-1].name == forward.FUSE
    assert all(row.left_out or row.median > 0 for row in rows)


def test_startup_reads_whole_lines_only(tmp_path):
    log = tmp_path / "metrics.jsonl"
    assert startup.logged_steps(log) == 0
    log.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert startup.logged_steps(log) == 2


def test_startup_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(startup, "NEEDED", ("no_such_package",))
    assert all("no_such_package" in row.left_out for row in startup.rows(1))


def test_the_memory_of_a_command_is_its_own(tmp_path):
    """Shots have the requested size; a child's peak grows with the memory it takes; a failure is an error."""
    paths = large.make_shots(str(tmp_path), 0.05, 3)
    assert len(paths) == 3 and large.size_of(12) == (3000, 4000) and large.parse_stack("30x24") == (30, 24)
    # From a process of its own, for this one is large.
    code = ("import sys; from benchmarks.large import measure\n"
            "for n in (10**6, 2 * 10**8):\n"
            "    print(measure([sys.executable, '-c', f\"x = bytearray(b'1') * {n}\"]).peak_bytes)")
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    small, big = map(int, said.split())
    assert small < 1e8 and 2e8 < big < 2.3e8
    with pytest.raises(RuntimeError, match="ended with 3"):
        large.measure([sys.executable, "-c", "raise SystemExit(3)"])

"""Patches per second: steps between two synchronizations over the time between them, by a clock that tests move."""

import collections
import json
import types

import jax
import numpy as np
import pytest

from edmf_jax.training import loop
from edmf_jax.training.config import load_config
from edmf_jax.training.divergence import DivergenceMonitor
from edmf_jax.training.loop import StepClock, TrainingLoop
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.run_dir import MetricsLog


@pytest.fixture
def now(monkeypatch):
    """The time [s], set by a test."""
    now = types.SimpleNamespace(s=1000.0)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now.s)
    return now


def test_the_rate_is_steps_over_time_since_the_last_synchronization(now):
    clock = StepClock()
    assert clock.rate(20) is None  # nothing is known of when these began: they include compilation
    now.s += 4
    assert clock.rate(40) == 5
    now.s += 1
    assert clock.rate(42) == 2
    now.s += 100  # an epoch's end and a checkpoint
    clock.restart(42)
    now.s += 2
    assert clock.rate(62) == 10


def test_a_host_that_comes_late_does_not_make_the_next_steps_fast(now):
    """Both windows of 10 steps took 5 s, and the host looked 5 s late: 1 and 2 steps a second, not thousands."""
    clock = StepClock()
    clock.restart(0)
    now.s += 10
    assert clock.rate(10, more_are_done=True) == 1
    now.s += 1e-3
    assert clock.rate(20) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize(("left", "counts"), [(6, [3, 3]), (8, [3, 3, 1, 1]), (2, [1, 1]), (1, [1])])
def test_a_run_needs_programs_of_two_lengths(left, counts):
    found = []
    while left:
        found.append(loop.next_count(3, left))
        left -= found[-1]
    assert found == counts


def test_no_new_step_gives_no_rate(now):
    clock = StepClock()
    clock.restart(8)
    assert clock.rate(8) is None  # not 0, nor a division by 0
    clock.restart(12)
    now.s += 1
    assert clock.rate(4) is None  # a counter that was set back


class Log:
    """A loop whose means are there as soon as the test says; `fetched_after` is how long fetching waits [s]."""

    def __init__(self, folder, now, monkeypatch, every):
        self.folder = folder
        made = object.__new__(TrainingLoop)
        layout = PatchLayout(4 * 40, 4, 4)  # 40 steps an epoch of 4 patches
        made.run = types.SimpleNamespace(
            config=types.SimpleNamespace(train=types.SimpleNamespace(log_every_steps=every)),
            step_config=types.SimpleNamespace(layout=layout))
        made.checkpoints = types.SimpleNamespace(steps=[])
        made.monitor = DivergenceMonitor(0.0, layout, 0, 1e-3)
        made.metrics, made.clock, made.pending, made.step = MetricsLog(folder, 0), StepClock(), [], 0
        made.window = 0
        made.bar = types.SimpleNamespace(set_postfix=lambda shown: None)
        self.loop, self.waits = made, collections.deque()

        def fetch(values):
            now.s += self.waits.popleft()
            return values

        monkeypatch.setattr(loop.jax, "device_get", fetch)

    def dispatch(self, count):
        """Steps are dispatched, which takes no time."""
        means = {"loss": np.ones(count, np.float32), "gradient_norm": np.ones(count, np.float32)}
        self.loop.pending.append((self.loop.step, count, means))
        self.loop.step += count

    def collect(self, waited_s, late=False):
        self.waits.append(waited_s)
        self.loop._collect(end=40, late=late)

    def rates(self):
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return {r["step"]: r["patches_per_second"] for r in map(json.loads, lines)}


def test_rows_that_are_fetched_together_share_the_rate_of_their_stretch(tmp_path, now, monkeypatch):
    """Seen before: 741,347 patches a second, of rows that are written microseconds after one another."""
    log = Log(tmp_path, now, monkeypatch, every=1)
    log.dispatch(4)
    log.collect(30.0)  # compiled
    for _ in range(4):
        log.dispatch(4)
    log.collect(8.0)  # 16 steps of 4 patches
    log.dispatch(4)
    log.collect(1.0)
    found = log.rates()
    assert [found[step] for step in range(1, 5)] == [None] * 4
    assert [found[step] for step in range(5, 21)] == [8.0] * 16
    assert [found[step] for step in range(21, 25)] == [16.0] * 4


def test_lines_are_fetched_one_window_late_and_all_of_them_at_the_end(tmp_path, now, monkeypatch):
    log = Log(tmp_path, now, monkeypatch, every=4)
    log.loop.clock.restart(0)
    monkeypatch.setattr(loop, "is_done", lambda means: False)
    log.dispatch(4)
    log.collect(1.0, late=True)  # nothing before this window: the devices are not waited for
    assert log.loop.window == 1 and not (tmp_path / "metrics.jsonl").read_text() and log.waits.pop() == 1.0
    log.dispatch(2)
    log.dispatch(2)
    log.collect(2.0, late=True)
    assert log.rates() == {4: 8.0}
    log.dispatch(4)
    log.collect(8.0)
    assert log.rates() == {4: 8.0, 8: 4.0, 12: 4.0}
    assert log.loop.pending == [] and log.loop.window == 0


def test_steps_that_are_not_logged_count(tmp_path, now, monkeypatch):
    log = Log(tmp_path, now, monkeypatch, every=10)
    log.loop.clock.restart(0)
    for _ in range(5):
        log.dispatch(4)
    log.collect(10.0)
    assert log.rates() == {10: 8.0, 20: 8.0}


def test_the_time_of_an_epochs_end_and_of_saving_is_not_that_of_steps(tmp_path, now, monkeypatch):
    log = Log(tmp_path, now, monkeypatch, every=4)
    log.loop.clock.restart(0)
    log.dispatch(4)
    log.collect(2.0)
    now.s += 60
    log.loop.clock.restart(log.loop.step)  # as after every save
    log.dispatch(4)
    log.collect(2.0)
    assert log.rates() == {4: 8.0, 8: 8.0}


def test_the_whole_loop_on_a_machine_of_known_speed(tmp_path, now, monkeypatch):
    """2 s a step, 1 s more for each of the saves (every 2 steps), 50 s for the first compilation, 7 s an epoch's end.

    Nothing of that but the steps may be in the rates: 4 patches in 2 s.
    """
    busy, done_at, results = [0.0], {}, []  # until when the machine works; when each result is done [s]

    def work(seconds, result):
        busy[0] = max(busy[0], now.s) + seconds
        results.append(result)
        done_at.update((id(value), busy[0]) for value in result.values())
        return result

    def step(state, sources, order, count):
        ones = {name: np.ones(count, np.float32) for name in ("loss", "gradient_norm")}
        return types.SimpleNamespace(step=state.step + count), work(2.0 * count + 50 * (state.step == 0), ones)

    def epoch_end(state, sources):
        report = {"sharpness": np.float32(1), "admitted": np.bool_(True), "held_epochs": np.array([1])}
        return state, work(7, report)

    def wait(values):
        now.s = max([now.s, *(done_at[id(value)] for value in jax.tree.leaves(values))])
        return values

    def save(step, state, report=None):
        now.s = max(now.s, busy[0]) + 1

    for name in ("device_get", "block_until_ready"):
        monkeypatch.setattr(loop.jax, name, wait)
    same = lambda x: x
    monkeypatch.setattr(loop, "make_programs", lambda run, state: loop.Programs(same, same, same, step, epoch_end))
    monkeypatch.setattr(loop, "is_done", lambda means: done_at[id(means["loss"])] <= now.s)
    for name in ("put_sources", "put_sharded"):
        monkeypatch.setattr(loop, name, lambda x, mesh: x)
    config = load_config("edmf.py", ["--config.train.epochs=3", "--config.train.log_every_steps=1",
                                     "--config.checkpoint.every_steps=2"])
    run = loop.Run(config, types.SimpleNamespace(size=4), None,
                   types.SimpleNamespace(layout=PatchLayout(16, 4, 4), steps_per_call=1))
    checkpoints = types.SimpleNamespace(steps=[], save=save, wait=lambda: None)
    trained = TrainingLoop(run, tmp_path, checkpoints, types.SimpleNamespace(signal=None), MetricsLog(tmp_path, 0),
                           types.SimpleNamespace(before=same), lambda line: None)
    assert trained.train(types.SimpleNamespace(step=0)).step == 12
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = {r["step"]: r["patches_per_second"] for r in records if "event" not in r}
    assert found == {1: None, **dict.fromkeys(range(2, 13), 2.0)}
    assert [r["seconds"] for r in records if "event" in r] == [50 + 8 + 1 + 7, 8 + 1 + 7, 8 + 1 + 7]

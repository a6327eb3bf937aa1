"""The divergence monitor: which losses stop a run, which do not, and the message."""

import math

import pytest

from edmf_jax.training.divergence import Diverged, DivergenceMonitor
from edmf_jax.training.patches import PatchLayout

LAYOUT = PatchLayout(13, 4, 4)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_nan_and_inf_stop_at_the_first_step(loss, norm):
    with pytest.raises(Diverged, match=r"diverged at step 1: .*no checkpoint had been saved before.*0.001") as caught:
        DivergenceMonitor(20.0, LAYOUT, 3, 1e-3).check(1, loss, norm, [])
    assert caught.value.record["event"] == "diverged"


def test_a_loss_far_above_the_median_stops():
    monitor = DivergenceMonitor(20.0, LAYOUT, 3, 1e-3)
    for step in range(1, 31):
        monitor.check(step, 1.0 if step % 2 else 3.0, 1.0, [])
    monitor.check(31, 39.0, 1.0, [])  # 19.5 times the median 2
    with pytest.raises(Diverged, match=r"step 32: the loss is 90, 30 times the median 3.*checkpoint is step 28"):
        for _ in range(2):  # the median of the 31 losses is 3 now
            monitor.check(32, 90.0, 1.0, [20, 28])


def test_large_losses_pass_without_a_limit_or_before_a_median_exists():
    DivergenceMonitor(20.0, LAYOUT, 3, 1e-3).check(1, 1e30, 1e30, [])
    monitor = DivergenceMonitor(0.0, LAYOUT, 3, 1e-3)
    for step, loss in enumerate([1.0] * 40 + [1e9], 1):
        monitor.check(step, loss, 1.0, [])


def test_the_steps_of_an_epoch_have_every_patch_once():
    monitor = DivergenceMonitor(20.0, LAYOUT, 3, 1e-3)
    for epoch in range(2):
        steps = [monitor.patches(epoch * LAYOUT.steps_per_epoch + i + 1) for i in range(LAYOUT.steps_per_epoch)]
        assert sorted(patch for step in steps for patch in step) == list(range(13))
        assert len(steps[-1]) == 1
    assert monitor.patches(1) != monitor.patches(LAYOUT.steps_per_epoch + 1)

"""The watch over the loss: what stops a run, what does not, and what it says."""

import math

import pytest

from edmf_jax.health import Diverged, Health
from edmf_jax.patches import Layout

LAYOUT = Layout(13, 4, 4)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_what_is_no_number_stops_at_the_first_step(loss, norm):
    with pytest.raises(Diverged, match=r"diverged at step 1: .*no checkpoint had been saved before.*0.001") as caught:
        Health(20.0, LAYOUT, 3, 1e-3).check(1, loss, norm, [])
    assert caught.value.record["event"] == "diverged"


def test_a_loss_far_above_the_median_stops():
    health = Health(20.0, LAYOUT, 3, 1e-3)
    for step in range(1, 31):
        health.check(step, 1.0 if step % 2 else 3.0, 1.0, [])
    health.check(31, 39.0, 1.0, [])  # 19.5 times the median 2
    with pytest.raises(Diverged, match=r"step 32: the loss is 90, 30 times the median 3.*checkpoint is step 28"):
        for _ in range(2):  # the median of the 31 losses is 3 now
            health.check(32, 90.0, 1.0, [20, 28])


def test_without_a_limit_or_before_there_is_a_median_only_numbers_count():
    Health(20.0, LAYOUT, 3, 1e-3).check(1, 1e30, 1e30, [])
    health = Health(0.0, LAYOUT, 3, 1e-3)
    for step, loss in enumerate([1.0] * 40 + [1e9], 1):
        health.check(step, loss, 1.0, [])


def test_the_patches_of_an_epoch_are_all_patches_once():
    health = Health(20.0, LAYOUT, 3, 1e-3)
    for epoch in range(2):
        steps = [health.patches(epoch * LAYOUT.steps_per_epoch + i + 1) for i in range(LAYOUT.steps_per_epoch)]
        assert sorted(patch for step in steps for patch in step) == list(range(13))
        assert len(steps[-1]) == 1
    assert health.patches(1) != health.patches(LAYOUT.steps_per_epoch + 1)

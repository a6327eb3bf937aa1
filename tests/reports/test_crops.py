"""Cut-outs are where their labels say."""

import numpy as np

from edmf_jax.reports.crops import choose_crops


def test_crops_are_where_they_say():
    rng = np.random.default_rng(1)
    height, width, side = 200, 320, 64
    sharp = rng.integers(60, 200, (height, width), np.uint8)
    sharp[:80, :80] = 128  # nothing happens there
    sharp[120:, :80] = 0  # nor here, but it is a black border
    mask = np.where(np.arange(width) < 200, 255, 0).astype(np.uint8)[None].repeat(height, 0)
    spread = np.zeros((height, width), np.uint8)
    spread[100:160, 240:300] = 9
    differ, edge, even = choose_crops(sharp, sharp, mask, spread, side)
    assert (differ.x <= 240 and differ.x + side >= 300) and (differ.y <= 100 and differ.y + side >= 160)
    assert edge.x < 200 < edge.x + side and edge.label == "edge of focus"
    assert even.x + side <= 82 and even.y + side <= 82
    for crop in (differ, edge, even):
        assert 0 <= crop.x <= width - side and 0 <= crop.y <= height - side
    assert differ.center(32)[1:] == (differ.x + 16, differ.y + 16, 32, 32)
    assert choose_crops(sharp[:50, :60], sharp[:50, :60], None, None, side) == ()
    assert [c.label for c in choose_crops(sharp, sharp, None, None, side)] == ["even area"]

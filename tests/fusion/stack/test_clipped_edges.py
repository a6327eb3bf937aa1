"""What one shot shows sharp but blown out, and a darker one blurred: where the two shots change over."""

import cv2
import numpy as np
import pytest

from edmf_jax.fusion.stack import PhotoOptions, fuse_photos
from edmf_jax.fusion.stack.chooser_engine import load
from tests.helpers.scenes import exposed, scene

BAR = slice(70, 84)


@pytest.mark.parametrize("chooses", ["network", "by hand"])
@pytest.mark.parametrize(("target", "white"), [("average", 218), ("well-exposed", 232)])
def test_the_edge_of_what_is_blown_out_stays_sharp(chooses, target, white):
    truth = 0.2 + 0.3 * scene(160, 200, seed=5)
    truth[BAR] = 0.97 + 0.02 * scene(14, 200, seed=1)
    blurred = cv2.GaussianBlur(truth.astype(np.float32), (0, 0), 3)
    bright, dark = exposed(truth, 0.5), exposed(blurred, -0.5)
    assert bright[BAR].min() == 255 and dark.max() < 250
    fused = fuse_photos([bright, dark], weights=load("chooser") if chooses == "network" else None,
                        options=PhotoOptions("none", exposure=target)).image
    rows = fused[:, 20:-20].astype(float).mean((1, 2))
    # Up to its edge it is as bright as the bright shot shows white; beside it nothing of the blur shows.
    assert rows[BAR].min() > white - 1
    expected = exposed(truth)[:, 20:-20].astype(float).mean((1, 2))
    lift = np.median(rows[20:60] / expected[20:60])
    for beside in (BAR.start - 1, BAR.stop):
        assert abs(rows[beside] - lift * expected[beside]) < 2

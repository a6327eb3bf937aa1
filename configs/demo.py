"""The demo: the paper's network, loss and memory on the synthetic pairs, in two minutes of two CPU cores.

    make demo            (or: edmf demo)

288 steps of 8 patches of 96² px instead of 22,140 of 48 of 256², and a rate of 1e-3 instead of 1e-4, so that a few
hundred steps have a visible effect. The result shows that the program works, not what the method can do: expect the
fused picture of the held-out pair to be nearer to the truth (PSNR) than the plain average of its sources.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """edmf.py on edmf_synthetic, reduced to two minutes."""
    config = runpy.run_path(str(Path(__file__).with_name("edmf.py")))["get_config"]()
    config.data.dataset = "edmf_synthetic"
    config.data.patches = 384
    config.data.patch_px = 96
    config.train.batch = 8
    config.train.epochs = 6
    config.train.learning_rate = 1e-3
    return config

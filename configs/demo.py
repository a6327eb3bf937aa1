"""All of it in two CPU minutes: the paper's network and memory on the embedded synthetic pairs.

    make demo            (or: edmf demo)

Small patches, few of them, and a learning rate of 1e-3 instead of 1e-4, so that something is to be
seen after some hundred steps.  The result shows that the machine works, not what the method can do.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("edmf.py")))["get_config"]()
    config.data.dataset = "edmf_synthetic"
    config.data.patches = 384
    config.data.patch_px = 96
    config.train.batch = 8
    config.train.epochs = 6
    config.train.learning_rate = 1e-3
    return config

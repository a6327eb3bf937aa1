"""One arm of Table 3 or Fig. 14: the paper's training, reduced to a quarter of an hour of one CPU core.

    edmf experiment table3 --config configs/ablation.py --budget 15 --workdir W

The experiment sets the number of patches so that an arm takes its budget, and the fields in which the arms
differ.  Ten epochs as in the paper, so that the memory fills and is replaced; patches of 96² and a rate of 1e-3
that falls to 0, because a thousand steps at 1e-4 learn little.  Trained on 95 % of the training pairs and
measured on the other 5 %: the test pairs are not looked at.  Scores and times: docs/results.md.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("edmf.py")))["get_config"]()
    config.data.split = "train[:95%]"
    config.data.patches = 400
    config.data.patch_px = 96
    config.data.swap = True
    config.data.logical_shards = 4
    config.train.batch = 4
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 20
    config.train.decay_epochs = 10
    config.train.log_every_steps = 10
    config.checkpoint.keep_last = 1
    config.checkpoint.keep_best = 0
    return config

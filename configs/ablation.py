"""What the arms of Table 3 and Fig. 14 share: the paper's training, reduced to minutes of one CPU core.

    edmf experiment table3 --config configs/ablation.py --budget 15 --workdir W

The experiment sets the fields in which the arms differ and, with `--budget MINUTES`, the number of patches that an arm
can train on in that time. What differs from the paper, and why:

- ten epochs, as in the paper, so that the memory fills and entries are replaced, but with patches of 96² px;
- a rate of 1e-3 that falls to 0, because a thousand steps at 1e-4 learn little;
- trained on 95 % of the training pairs and scored on the other 5 %, so the test pairs stay unseen.

Time: 1,000 steps (400 patches, the default below) take four to five minutes of a busy core. Expected scores of the
paper's arm, "both", after these 1,000 steps, on the 18 validation pairs at hand (mean of two seeds): EN 7.214,
MI 5.497, SF 11.351, VIF 0.937, Qabf 0.569, SSIM 0.603, AG 3.468, PSNR 68.562. All arms: docs/results.md and
results/table3.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """edmf.py with few, small patches."""
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

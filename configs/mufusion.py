"""MUFusion's network, with twice the channels, under this paper's training; everything else as in edmf.py.

    edmf train --config configs/mufusion.py --workdir W

The network is that of Cheng, Xu and Wu (Information Fusion 92, 2023). The steps and the memory bank are those of
configs/edmf.py; a step computes about four times as much. This run has not been done. The weights that MUFusion's
authors publish come from their own training (`edmf import-mufusion`); their scores on the paper's test pairs, stored
losslessly: EN 7.608, MI 5.401, SF 19.776, VIF 1.079, Qabf 0.569, SSIM 0.635, AG 7.224, PSNR 68.566 (docs/results.md).
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """edmf.py with 32 channels at full resolution."""
    config = runpy.run_path(str(Path(__file__).with_name("edmf.py")))["get_config"]()
    config.model.width = 32
    return config

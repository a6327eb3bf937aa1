"""MUFusion's network (twice the channels) under this paper's training, everything else as in edmf.py.

    edmf train --config configs/mufusion.py --workdir W
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("edmf.py")))["get_config"]()
    config.model.width = 32
    return config

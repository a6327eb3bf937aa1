"""`edmf fuse` as a method of `edmf evaluate`: `edmf-fuse`, or `edmf-fuse:WORD,WORD` where options are not its defaults.

Data sets whose pairs are registered, and scored at the mean of both exposures, want `edmf-fuse:registered,average`.
"""

from collections.abc import Sequence

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.fuse import fuse
from edmf_jax.methods.base import check_images
from edmf_jax.weights.chooser_params import SHIPPED, find_chooser, load_chooser
from edmf_jax.weights.params import params_sha256

NAME = "edmf-fuse"
WORDS = {"registered": {"align": "none"}, "average": {"exposure": "average"}, "hand-made": {"weights": "none"}}
"""Word → the option of `edmf fuse` that it stands for; a file of a chooser's parameters is a word, too."""


def is_edmf_fuse(spec: str) -> bool:
    """Whether `--method` means this method."""
    return spec.partition(":")[0] == NAME


class EdmfFuse:
    """A `Fuser` that does what `edmf fuse` does.

    Attributes:
      options: of `fusion.fuse.fuse`.
      sha256: of the parameters of the network that chooses; None with "hand-made".
    """

    def __init__(self, spec: str):
        """Of a value of `--method`.

        Raises:
          UserError: a word that is none of `WORDS` and no file of a chooser's parameters; two of one option.
        """
        self.options: dict[str, str] = {}
        for word in filter(None, spec.partition(":")[2].split(",")):
            option = WORDS.get(word) or ({"weights": word} if word != SHIPPED and find_chooser(word) else None)
            if option is None:
                raise UserError(f"--method {spec}: {word!r} is none of {', '.join(WORDS)}, nor a file that `edmf train "
                                "--config configs/chooser.py` wrote; separate several by commas")
            if option.keys() & self.options.keys():
                raise UserError(f"--method {spec}: {', '.join(option)} is given twice; leave {word} or the other "
                                "one out")
            self.options |= option
        weights = self.options.get("weights", SHIPPED)
        self.sha256 = None if weights == "none" else params_sha256(load_chooser(find_chooser(weights))[0])

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture; see `methods.base.Fuser`."""
        check_images(images, NAME, most=None)
        return fuse(images, log=lambda line: None, **self.options)

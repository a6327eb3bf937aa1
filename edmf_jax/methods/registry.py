"""Every method by its name on the command line; a method's module is imported when it is asked for."""

import dataclasses
import difflib
import importlib
from types import ModuleType

from edmf_jax.errors import MissingFileError
from edmf_jax.methods.base import MethodInfo
from edmf_jax.methods.imported import is_imported

MODULES = {
    "edmf": "edmf",
    "mufusion": "mufusion",
    "cnn": "cnn",
    "sesf": "sesf",
    "gacn": "gacn",
    "ifcnn": "ifcnn",
    "u2fusion": "u2fusion",
    "mffgan": "mffgan",
    "zmff": "zmff",
    "samf": "samf",
    "average": "average",
    "max-sf": "max_sf",
    "max-sf-pixelwise": "max_sf_pixelwise",
    "laplacian-pyramid": "laplacian_pyramid",
    "guided-filter": "guided_filter",
    "exposure-fusion": "exposure_fusion",
}
"""Name → module in `edmf_jax.methods`."""

@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A method that only another program can run.

    Attributes:
      name: what a user looks for; "openfocus:METHOD" is also a value of --method.
      title, paper, year, doi: as in `MethodInfo`.
      license: of the program.
      source: where to get it.
      reason: why it is not here, and what to do instead.
    """

    name: str
    title: str
    paper: str
    year: int
    doi: str
    license: str
    source: str
    reason: str


_RUN_IT = "run its authors' program and name the folder of its pictures, folder:DIR"
ELSEWHERE = (
    Elsewhere("mdlsr", "MDLSR", "Wang, Qu, Zhang, Xie, Information Fusion 105", 2024, "",
              "Apache-2.0, but its main.m says non-commercial use only", "repository JWatawang/MDLSR_RFM",
              "its authors publish only MATLAB P-code, a closed file, and the paper gives too little to write it anew; "
              "run their mdlsr_rfm.p in MATLAB and name the folder of its pictures, folder:DIR"),
    Elsewhere("openfocus:METHOD", "StackMFF v1 to v3 and the other methods of OpenFocus", "Xie et al., openfocus 1.72",
              2026, "", "MIT", "pipx install openfocus; repository Xinzhe99/OpenFocus",
              "`--method openfocus:stackmffv3` calls that program, once for every pair, if it is installed; METHOD is "
              "what its own --method takes: stackmffv3, stackmffv2, stackmff, guided_filter, dct, …"),
    Elsewhere("stackmffv4", "StackMFF v4", "in: Generative Multi-Focus Image Fusion", 2025, "10.48550/arXiv.2512.21495",
              "see there", "repository Xinzhe99/StackMFF-Series", f"openfocus 1.72 does not have it; {_RUN_IT}"),
    Elsewhere("refusion", "ReFusion", "Bai et al., International Journal of Computer Vision 133", 2024,
              "10.1007/s11263-024-02256-8", "see there", "repository HaowenBai/ReFusion", _RUN_IT),
    Elsewhere("gifnet", "GIFNet", "Cheng et al., CVPR", 2025, "10.48550/arXiv.2502.19854", "see there",
              "repository AWCXV/GIFNet", _RUN_IT),
)
"""Methods that only another program can run."""


def module_of(name: str) -> ModuleType:
    """The module of a method.

    Raises:
      MissingFileError: there is no method of this name, or only another program can run it.
    """
    for other in ELSEWHERE:
        if name.lower() == other.name:
            raise MissingFileError(f"method {name!r}: {other.title} is not here: {other.reason}")
    if name not in MODULES:
        nearest = difflib.get_close_matches(name, MODULES, 1)
        raise MissingFileError(f"method {name!r} is unknown{f' (did you mean {nearest[0]}?)' if nearest else ''}; "
                               f"`edmf methods` lists all: {', '.join(MODULES)}")
    return importlib.import_module(f"edmf_jax.methods.{MODULES[name]}")


def info_of(name: str) -> MethodInfo:
    """What is known of a method; raises as `module_of`."""
    return module_of(name).INFO


def is_ready(info: MethodInfo) -> bool:
    """Whether a method can run now: it needs no weights, or they are imported."""
    return not info.tensors or is_imported(info.name)

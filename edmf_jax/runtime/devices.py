"""Whether a GPU is used, by the networks and for blending: `gpu_for` alone decides, and `use` tells JAX.

Importing this imports no JAX, which takes half a second.
"""

import importlib.util
import os
import sys
from typing import Any

from edmf_jax.errors import UserError
from edmf_jax.runtime.process import set_option


def gpu_for(device: str, *, pays: bool = True) -> Any | None:
    """The GPU that work is done on, a `jax.Device`; None: the CPU does it.

    Args:
      device: "cpu"; "gpu"; or "auto": a GPU if there is one and the work pays for its start.
      pays: whether the work is large enough for that.

    Raises:
      UserError: "gpu", and JAX finds none.
    """
    if device == "cpu" or (device == "auto" and not (pays and may_take_gpu(device))):
        return None
    try:
        return first_gpu()
    except RuntimeError as error:
        if device == "auto":
            return None
        raise UserError(f"--device gpu: JAX finds no GPU here ({' '.join(str(error).split())[:120]}); install "
                        '"edmf-jax[cuda]" on a machine that has one, or leave out --device') from error


def may_take_gpu(device: str) -> bool:
    """Whether `gpu_for` may name a GPU: for "auto" whether JAX's plugin and a driver's device file are here."""
    if device != "auto":
        return device == "gpu"
    if os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return False
    plugins = any(importlib.util.find_spec(f"jax_{name}_plugin") for name in ("cuda12", "cuda13", "rocm60", "rocm7"))
    return plugins and any(os.path.exists(f"/dev/{name}") for name in ("nvidiactl", "dxg", "kfd"))


def first_gpu() -> Any:
    """The first GPU that JAX knows; RuntimeError if it knows none."""
    import jax

    return jax.devices("gpu")[0]


def use(device: str, *, networks: bool = True) -> None:
    """Lets JAX compute where a command's --device says.

    Args:
      device: see `gpu_for`.
      networks: the command runs networks: with "auto" they take whatever accelerator JAX finds.  Without, and where no
        GPU can be, JAX need not look for any.

    Raises:
      UserError: "gpu", and JAX finds none.
    """
    if device == "gpu":
        found = gpu_for(device)
        sys.modules["jax"].config.update("jax_default_device", found)
    elif device == "cpu":
        set_option("JAX_PLATFORMS", "cpu")
    elif not networks and not may_take_gpu(device):
        use_cpu_only()


def use_cpu_only() -> None:
    """Keeps JAX from initializing an accelerator, which takes seconds and most of its memory.

    For commands that run no network. Does nothing if the environment variable JAX_PLATFORMS names platforms.
    """
    if not os.environ.get("JAX_PLATFORMS"):
        set_option("JAX_PLATFORMS", "cpu")

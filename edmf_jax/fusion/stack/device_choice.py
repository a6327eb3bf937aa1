"""Where shots are blended: on a GPU if there is one and it pays, or on the CPU.  Importing this imports no JAX."""

from collections.abc import Callable
from typing import Any

from edmf_jax.fusion.stack.options import PhotoOptions, PhotoResult
from edmf_jax.runtime import process

LEAST_PIXELS = 500e6
"""Of all shots together, for "auto".  On an H200 two shots of 24 MP took 1.25 s less than on 16 cores, and the first
41 s more, for compiling; later runs take the compiled programs from JAX's cache."""


def chosen(device: str, pixels: float) -> Any | None:
    """The GPU of JAX that blends shots of so many pixels together; None: the CPU does.

    Args:
      device: "cpu"; "gpu"; or "auto": a GPU if there is one and the work pays for its start.
      pixels: of all shots.

    Raises:
      UserError: "gpu", and there is none.
    """
    if device == "gpu":
        return process.gpu()
    return process.gpu_if_any() if device == "auto" and pixels >= LEAST_PIXELS else None


def say_where(result: PhotoResult, options: PhotoOptions, log: Callable[[str], None]) -> None:
    """Says what blended the shots, if that was a GPU, or if one was asked for."""
    if result.device is not None:
        log(f"the shots were blended on the device {result.device!r}")
    elif options.device == "gpu" and options.pixels == "shots":
        log("--device gpu: the shots were blended on the CPU, as always with layers or masks, and where there is no "
            "room for them all")

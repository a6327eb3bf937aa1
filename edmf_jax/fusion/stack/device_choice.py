"""When blending on a GPU pays, and the line that says where shots were blended.

`runtime.devices.gpu_for` decides whether there is one.  Importing this imports no JAX.
"""

from collections.abc import Callable

from edmf_jax.fusion.stack.options import PhotoOptions, PhotoResult

LEAST_PIXELS = 500e6
"""Of all shots together, for "auto".  On an H200 two shots of 24 MP took 1.25 s less than on 16 cores, and the first
41 s more, for compiling; later runs take the compiled programs from JAX's cache."""


def say_where(result: PhotoResult, options: PhotoOptions, log: Callable[[str], None]) -> None:
    """Says what blended the shots, if that was a GPU, or if one was asked for."""
    if result.device is not None:
        log(f"the shots were blended on the device {result.device!r}")
    elif options.device == "gpu" and options.pixels == "shots":
        log("--device gpu: the shots were blended on the CPU, as always with layers or masks, and where there is no "
            "room for them all")

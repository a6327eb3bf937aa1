"""Refuses what would not fit into the memory of the device, before it is run."""

import jax
import psutil

from edmf_jax.errors import UserError


def check_memory(program: jax.stages.Compiled, what: str) -> None:
    """Compares what a compiled program needs with what its device has free.

    Args:
      program: where its platform does not tell what it needs, nothing is checked.
      what: the beginning of the message, e.g. "zmff on pictures of 9×9 px".

    Raises:
      UserError: it needs more.
    """
    analysis = program.memory_analysis()
    if analysis is None:
        return
    needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    statistics = jax.local_devices()[0].memory_stats() or {}
    free = statistics.get("bytes_limit", psutil.virtual_memory().available) - statistics.get("bytes_in_use", 0)
    if needed > free:
        raise UserError(f"{what} needs {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free; the method "
                        "works on whole pictures, so use smaller ones, a device with more memory or another method")

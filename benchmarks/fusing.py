"""Fusing two color photographs, in megapixels per second."""

import jax
import numpy as np
import psutil

import edmf_jax
from benchmarks.inputs import SEED, make_pair
from benchmarks.table import Row, left_out, measured
from benchmarks.timing import interleave, stopwatch
from edmf_jax.core.model import init_params, make_model
from edmf_jax.fusion import engine
from edmf_jax.weights.store import Weights

SIZES = {1: (864, 1152), 12: (3000, 4000), 48: (6000, 8000)}  # megapixels: height, width
QUICK = (1, 12)
# Measured on a CPU: what one piece of the network takes, and each pixel of the picture besides.
PIECE_BYTES, BYTES_PER_PIXEL = 0.5e9, 25


def rows(repeats: int, *, quick: bool = False, sizes: dict[int, tuple[int, int]] | None = None) -> list[Row]:
    """A row for each size; uint8 RGB in and out, without the time of compiling.

    Args:
      sizes: megapixels → height, width; None: `SIZES`.
    """
    params = jax.device_get(jax.jit(init_params, static_argnums=0)(make_model(16), jax.random.key(0)))
    weights = Weights(params, {"model": {"width": 16, "dtype": "float32"}}, "benchmark")
    sizes = sizes or {n: size for n, size in SIZES.items() if not quick or n in QUICK}
    return [size_row(weights, megapixels, size, repeats) for megapixels, size in sizes.items()]


def size_row(weights: Weights, megapixels: int, size: tuple[int, int], repeats: int) -> Row:
    """The row of one size, or the reason why it is left out."""
    name, pixels, free = f"edmf-jax: fusing {megapixels} MP", size[0] * size[1], free_bytes()
    needed = PIECE_BYTES + pixels * BYTES_PER_PIXEL
    if needed > free:
        return left_out(name, "MP/s", f"takes about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    a, b = make_pair(np.random.default_rng(SEED), *size, channels=3)
    lines: list[str] = []

    def fuse() -> np.ndarray:
        return edmf_jax.fuse([a, b], weights=weights, preset="paper")

    # Fewer repeats of large pictures, which take long and vary little.
    with engine.fastest(lines.append):
        seconds = interleave({"": stopwatch(fuse, warm_up=1)}, max(1, min(repeats, 3 * repeats // megapixels)))[""]
    return measured(name, "MP/s", [pixels / 1e6 / s for s in seconds],
                    f"{size[1]}×{size[0]} px RGB, edmf_jax.fuse, preset paper; {lines[-1]}")


def free_bytes() -> int:
    """Free memory [bytes] of the device that the network runs on."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return psutil.virtual_memory().available

"""Fusing two colour photographs, in megapixels per second."""

import jax
import numpy as np
import psutil

import edmf_jax
from benchmarks.inputs import SEED, make_pair
from benchmarks.table import Row, left_out, measured
from benchmarks.timing import interleave, stopwatch
from edmf_jax.model import init_params, make_model
from edmf_jax.tiling import fuse_levels
from edmf_jax.weights import Weights

SIZES = {1: (864, 1152), 12: (3000, 4000), 48: (6000, 8000)}  # megapixels: height, width
QUICK = (1, 12)
# Bytes a pixel, measured on a CPU: in one piece (see `edmf_jax.fusion`), and in pieces with colour.
PIECE_BYTES, PIECES_BYTES = 1100, 150
PIECE_SHARE = 0.3  # of the free memory that one piece may take


def rows(repeats: int, *, quick: bool = False, sizes: dict[int, tuple[int, int]] | None = None) -> list[Row]:
    """A row for each size: uint8 RGB in, uint8 RGB out, compiled before."""
    params = jax.device_get(jax.jit(init_params, static_argnums=0)(make_model(16), jax.random.key(0)))
    weights = Weights(params, {"model": {"width": 16, "dtype": "float32"}}, "benchmark")
    sizes = sizes or {n: size for n, size in SIZES.items() if not quick or n in QUICK}
    return [size_row(weights, megapixels, size, repeats) for megapixels, size in sizes.items()]


def size_row(weights: Weights, megapixels: int, size: tuple[int, int], repeats: int) -> Row:
    """The row of one size, or why there is none."""
    name, pixels, free = f"edmf-jax: fusing {megapixels} MP", size[0] * size[1], free_bytes()
    whole = pixels * PIECE_BYTES < PIECE_SHARE * free
    if not whole and pixels * PIECES_BYTES > free:
        return left_out(name, "MP/s", f"takes about {pixels * PIECES_BYTES / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    a, b = make_pair(np.random.default_rng(SEED), *size, channels=3)

    def fuse() -> np.ndarray:
        if whole:
            return edmf_jax.fuse([a, b], weights=weights, preset="paper")
        return fuse_levels(weights.model, weights.params, a, b)

    # The larger, the fewer: a large picture takes long and varies little.
    seconds = interleave({"": stopwatch(fuse, warm_up=1)}, max(1, min(repeats, 3 * repeats // megapixels)))[""]
    way = "edmf_jax.fuse, in one piece" if whole else "tiling.fuse_levels, in exact pieces of 1036 px"
    return measured(name, "MP/s", [pixels / 1e6 / s for s in seconds], f"{size[1]}×{size[0]} px RGB, {way}")


def free_bytes() -> int:
    """Memory that is free where the network runs."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return psutil.virtual_memory().available

"""The network's forward pass on a CPU: JAX, ONNX Runtime and PyTorch in one process; and `edmf fuse` from its start."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import jax
import numpy as np

from benchmarks import process
from benchmarks.inputs import SEED, make_pair
from benchmarks.table import Row, left_out, measured
from benchmarks.timing import interleave, stopwatch
from benchmarks.training import HOW_TO_GET_TORCH
from benchmarks.worker import ROOT
from edmf_jax.core.model import fuse_luma
from edmf_jax.fusion import engine
from edmf_jax.weights.params import flatten
from edmf_jax.weights.store import Weights, load_pretrained

SHAPES = ((1, 272, 272), (8, 128, 128), (1, 528, 528))  # --pixels network, MUFusion's tiles, --preset paper
FUSE = "edmf-jax: `edmf fuse` of two photographs of 0.2 MP"
FUSE_SIZE = (400, 500)


def rows(repeats: int, *, quick: bool = False, shapes: tuple[tuple[int, int, int], ...] = ()) -> list[Row]:
    """Megapixels per second for each shape and program, and the seconds of a whole `edmf fuse`."""
    weights, found = load_pretrained("edmf"), []
    for shape in shapes or (SHAPES[:1] if quick else SHAPES):
        calls = _calls(weights, shape)
        seconds = interleave({name: stopwatch(call) for name, call in calls.items()}, repeats)
        text, megapixels = f"{shape[0]} × {shape[2]}×{shape[1]}", np.prod(shape) / 1e6
        found += [measured(f"{name}: network forward, {text}", "MP/s", [megapixels / s for s in seconds[name]],
                           "width 16, float32") for name in calls]
    for package, why in (("onnxruntime", 'pip install "edmf-jax[onnx]"'), ("torch", HOW_TO_GET_TORCH)):
        if not importlib.util.find_spec(package):
            found.append(left_out(f"{package}: network forward", "MP/s", why))
    return [*found, fuse_row(repeats)]


def _calls(weights: Weights, shape: tuple[int, int, int]) -> dict[str, Callable[[], object]]:
    """What is timed, by the name of the program."""
    a, b = np.random.default_rng(SEED).random((2, *shape), np.float32)
    jitted = jax.jit(fuse_luma, static_argnums=0)
    calls = {"edmf-jax, JAX": lambda: jax.block_until_ready(jitted(weights.model, weights.params, a, b))}
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
        session = engine.make_session(weights.params)
        calls["edmf-jax, ONNX Runtime"] = lambda: engine.run(session, a, b)
    if importlib.util.find_spec("torch"):
        calls |= {f"PyTorch, {layout}": _torch_call(weights, a, b, layout) for layout in ("default", "channels_last")}
    return calls


def _torch_call(weights: Weights, a: np.ndarray, b: np.ndarray, layout: str) -> Callable[[], object]:
    import torch

    from benchmarks.torch_training import load_net

    torch.set_num_threads(process.cores())
    last = layout == "channels_last"
    net = load_net(flatten(weights.params), channels_last=last)
    pictures = torch.from_numpy(np.stack([a, b], 1))
    pictures = pictures.to(memory_format=torch.channels_last) if last else pictures

    def call() -> object:
        with torch.inference_mode():
            return net(pictures)

    return call


def fuse_row(repeats: int) -> Row:
    """Seconds of the command with its default options, each of a whole process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, picture in zip("ab", make_pair(np.random.default_rng(SEED), *FUSE_SIZE, channels=3)):
            cv2.imwrite(str(folder / f"{file}.png"), picture)
        command = [sys.executable, "-m", "edmf_jax.cli.main", "fuse", "a.png", "b.png", "-o", "out.png", "--force",
                   "--align", "best-effort"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        run = lambda: subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        seconds = interleave({"": stopwatch(run, warm_up=1)}, repeats)[""]
    return measured(FUSE, "s", seconds, "start to end; default options but --align best-effort")

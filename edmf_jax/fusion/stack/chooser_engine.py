"""What computes the network that chooses (`core.chooser`) outside of training, and its input.

OpenCV needs no compilation, and the shipped parameters come with the graphs that it reads.  For others the package
`onnx` makes them; where it is not installed, JAX computes these.  Both give the same to about 1e-4 of a logit.
"""

import functools
import importlib.util
import os
import threading
from typing import Protocol

import cv2
import numpy as np

from edmf_jax.core import chooser_layout as core
from edmf_jax.core.color import NEUTRAL, luma, rgb_to_ycbcr
from edmf_jax.fusion.stack.options import Chooser
from edmf_jax.weights.chooser_params import find_chooser, load_chooser, shipped_models

_LEAST_VALID = 1e-6


class Engine(Protocol):
    """What computes the network, on arrays `[c, h, w]`; `runtime` names it."""

    runtime: str

    def encode(self, seen: np.ndarray) -> list[np.ndarray]:
        """Features at every scale, of `features` `[FEATURES, h, w]`."""

    def decode(self, own: list[np.ndarray], largest: list[np.ndarray], mean: list[np.ndarray], behind: np.ndarray
               ) -> np.ndarray:
        """Logits `[h, w]` beyond the best hand-made one, of `encode`s, and of `behind` `[h, w]`."""


class OpenCvEngine:
    """By OpenCV, from the two ONNX graphs of `weights.chooser_onnx`; several threads may use it at once."""

    def __init__(self, models: tuple[bytes, bytes]):
        """Of the serialized graphs of `encode` and of `decode`."""
        self.runtime = f"OpenCV {cv2.__version__} on the CPU"
        self._models = [np.frombuffer(model, np.uint8) for model in models]
        self._own = threading.local()  # a cv2.dnn.Net is for one thread at a time

    def encode(self, seen: np.ndarray) -> list[np.ndarray]:
        """See `Engine`."""
        net, names = self._net(0)
        net.setInput(np.ascontiguousarray(seen, np.float32)[None], "seen")
        found = dict(zip(names, net.forward(names)))
        return [found[name][0] for name in sorted(found)]

    def decode(self, own, largest, mean, behind) -> np.ndarray:
        """See `Engine`."""
        net, names = self._net(1)
        for name, parts in (("own", own), ("largest", largest), ("mean", mean)):
            for scale, x in enumerate(parts):
                net.setInput(np.ascontiguousarray(x, np.float32)[None], f"{name}{scale}")
        net.setInput(np.ascontiguousarray(behind, np.float32)[None, None], "behind")
        return net.forward(names)[0][0, 0]

    def _net(self, which: int) -> tuple[cv2.dnn.Net, tuple[str, ...]]:
        """This thread's network and the names of its outputs."""
        nets = self._own.__dict__.setdefault("nets", {})
        if which not in nets:
            net = cv2.dnn.readNetFromONNX(self._models[which])
            nets[which] = net, net.getUnconnectedOutLayersNames()
        return nets[which]


class XlaEngine:
    """By JAX; compiles for every size of picture."""

    def __init__(self, params: core.Params):
        """Of `core.chooser`'s parameters."""
        import jax

        from edmf_jax.core import chooser

        self.runtime = f"JAX on the device {jax.devices()[0].device_kind!r}"
        self._params = jax.tree.map(jax.numpy.asarray, params)
        self._encode = jax.jit(chooser.encode_features)
        self._decode = jax.jit(chooser.compare)
        self._logits = chooser.relative_logits

    def encode(self, seen: np.ndarray) -> list[np.ndarray]:
        """See `Engine`."""
        found = self._encode(self._params, np.ascontiguousarray(seen.transpose(1, 2, 0))[None])
        return [np.asarray(x[0]).transpose(2, 0, 1) for x in found]

    def decode(self, own, largest, mean, behind) -> np.ndarray:
        """See `Engine`."""
        parts = [[np.asarray(x, np.float32).transpose(1, 2, 0)[None] for x in group] for group in (own, largest, mean)]
        out = self._decode(self._params, *parts, behind[None])
        return np.asarray(self._logits(out, behind[None]))[0]


@functools.cache
def engine(path: str) -> tuple[Engine, core.Params]:
    """What computes the network of a file of parameters, and these.

    Args:
      path: of `weights.chooser_params`' file.

    Raises:
      UserError: see `load_chooser`.
    """
    params, _ = load_chooser(path)
    models = shipped_models(path)
    if models is None and importlib.util.find_spec("onnx"):
        from edmf_jax.weights.chooser_onnx import to_onnx  # it imports JAX

        models = to_onnx(params)
    return (XlaEngine(params) if models is None else OpenCvEngine(models)), params


def load(name: str | os.PathLike) -> Chooser:
    """The network by its shipped name, "chooser", or by a file of parameters or a folder that has one.

    Raises:
      MissingFileError: there is no such file.
      UserError: see `load_chooser`.
    """
    computes, params = engine(str(find_chooser(name) or name))
    return Chooser(str(name), params, computes, computes.runtime)


def features(pixels: np.ndarray, hand: np.ndarray, valid: np.ndarray, clipped: np.ndarray) -> np.ndarray:
    """`core.chooser.features` of one shot in NumPy and OpenCV: `[FEATURES, h, w]`, float32.

    Args:
      pixels: `[h, w, C]`, leveled.
      hand, valid, clipped: `[h, w]`, see `core.chooser.Shots`.
    """
    there = None if valid.all() else valid.astype(np.float32)
    if there is not None:
        pixels = np.where(valid[..., None], pixels, 0)
    pixels = np.clip(pixels, 0, 1, dtype=np.float32)
    y = np.ascontiguousarray(pixels[..., 0]) if pixels.shape[2] == 1 else luma(pixels)
    near, wide = (_blurred(y, there, *blur) for blur in core.BLURS[:2])
    out = np.zeros((core.FEATURES, *y.shape), np.float32)
    out[0], out[1], out[2], out[3] = 2 * (y - 0.5), 12 * (y - near), 8 * (near - wide), 2 * (wide - 0.5)
    if pixels.shape[2] == 3:
        for place, color in enumerate(rgb_to_ycbcr(pixels)[1:]):
            color = color - np.float32(NEUTRAL)
            out[4 + place] = 12 * (color - _blurred(color, there, *core.BLURS[2]))
    out[6], out[7], out[8] = 0.4 * (hand / core.POWER + 4.5), clipped, 1
    return out if there is None else out * there


def _blurred(plane: np.ndarray, valid: np.ndarray | None, sigma_px: float, half_px: int) -> np.ndarray:
    """Gaussian mean of the `valid` pixels around each (None: of all)."""
    taps = cv2.getGaussianKernel(2 * half_px + 1, sigma_px)[:, 0]
    spread = lambda x: cv2.sepFilter2D(x, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_CONSTANT)
    if valid is None:
        down, across = (np.convolve(np.ones(side), taps, "same").astype(np.float32) for side in plane.shape)
        return spread(plane) / down[:, None] / across
    return spread(plane * valid) / np.maximum(spread(valid), np.float32(_LEAST_VALID))

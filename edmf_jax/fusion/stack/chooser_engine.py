"""What computes the network that chooses (`core.chooser`) outside of training: ONNX Runtime or JAX, and its input.

ONNX Runtime needs no compilation; it is used if `onnx` and `onnxruntime` are installed.
"""

import functools
import os
from typing import Protocol

import cv2
import numpy as np

from edmf_jax.core import chooser as core
from edmf_jax.core.color import NEUTRAL, luma, rgb_to_ycbcr
from edmf_jax.core.filters import gaussian_kernel
from edmf_jax.errors import UserError
from edmf_jax.fusion.stack.options import Chooser
from edmf_jax.registration.threads import usable_cores
from edmf_jax.weights.chooser_params import find_chooser, load_chooser

_LEAST_VALID = 1e-6


class Engine(Protocol):
    """What computes the network, on arrays `[c, h, w]`; `runtime` names it."""

    runtime: str

    def encode(self, seen: np.ndarray) -> list[np.ndarray]:
        """Features at every scale, of `features` `[FEATURES, h, w]`."""

    def decode(self, own: list[np.ndarray], largest: list[np.ndarray], mean: list[np.ndarray], behind: np.ndarray
               ) -> np.ndarray:
        """Logits `[h, w]` beyond the best hand-made one, of `encode`s, and of `behind` `[h, w]`."""


class OnnxEngine:
    """By ONNX Runtime."""

    def __init__(self, params: core.Params):
        """Of `core.chooser`'s parameters.

        Raises:
          ImportError: onnx or onnxruntime is not installed.
        """
        import onnxruntime

        from edmf_jax.weights.chooser_onnx import to_onnx

        self.runtime = f"ONNX Runtime {onnxruntime.__version__} on the CPU"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = usable_cores(), 3
        options.enable_cpu_mem_arena = False  # it would hold on to 0.4 GB for a tile of 1 MP, and save no time
        self._encode, self._decode = (onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
                                      for model in to_onnx(params))

    def encode(self, seen: np.ndarray) -> list[np.ndarray]:
        """See `Engine`."""
        return [x[0] for x in self._encode.run(None, {"seen": seen[None]})]

    def decode(self, own, largest, mean, behind) -> np.ndarray:
        """See `Engine`."""
        inputs = {f"{name}{scale}": np.ascontiguousarray(x, np.float32)[None]
                  for name, parts in (("own", own), ("largest", largest), ("mean", mean))
                  for scale, x in enumerate(parts)}
        return self._decode.run(None, inputs | {"behind": behind[None, None]})[0][0, 0]


class XlaEngine:
    """By JAX; compiles for every size of tile."""

    def __init__(self, params: core.Params):
        """Of `core.chooser`'s parameters."""
        import jax

        self.runtime = f"JAX on the device {jax.devices()[0].device_kind!r}"
        self._params = jax.tree.map(jax.numpy.asarray, params)
        self._encode = jax.jit(core.encode_features)
        self._decode = jax.jit(core.compare)

    def encode(self, seen: np.ndarray) -> list[np.ndarray]:
        """See `Engine`."""
        found = self._encode(self._params, np.ascontiguousarray(seen.transpose(1, 2, 0))[None])
        return [np.asarray(x[0]).transpose(2, 0, 1) for x in found]

    def decode(self, own, largest, mean, behind) -> np.ndarray:
        """See `Engine`."""
        parts = [[np.asarray(x, np.float32).transpose(1, 2, 0)[None] for x in group] for group in (own, largest, mean)]
        out = self._decode(self._params, *parts, behind[None])
        return np.asarray(core.relative_logits(out, behind[None]))[0]


@functools.cache
def engine(path: str, use_onnx: bool | None = None) -> tuple[Engine, core.Params]:
    """What computes the network of a file of parameters, and these.

    Args:
      path: of `weights.chooser_params`' file.
      use_onnx: None: if ONNX Runtime is there.

    Raises:
      UserError: see `load_chooser`.
    """
    params, _ = load_chooser(path)
    if use_onnx is not False:
        try:
            return OnnxEngine(params), params
        except (ImportError, UserError):
            if use_onnx:
                raise
    return XlaEngine(params), params


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
    taps = gaussian_kernel(2 * half_px + 1, sigma_px)
    spread = lambda x: cv2.sepFilter2D(x, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_CONSTANT)
    if valid is None:
        down, across = (np.convolve(np.ones(side), taps, "same").astype(np.float32) for side in plane.shape)
        return spread(plane) / down[:, None] / across
    return spread(plane * valid) / np.maximum(spread(valid), np.float32(_LEAST_VALID))

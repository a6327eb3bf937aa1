"""What computes the paper's network: JAX, or ONNX Runtime where that is faster.

On CPUs ONNX Runtime is 1.7 times as fast as XLA's convolutions and needs no compiling (docs/training.md).  It computes
the graph that `edmf export --format onnx` writes; the results differ by float rounding, 10⁻⁶.  Calls from Python use
JAX, so their results do not depend on what is installed; the commands ask for the fastest.
"""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from edmf_jax.core.model import FusionNet
from edmf_jax.weights.store import Weights

_PIECES_AT_ONCE = 8  # on an accelerator: of 528² px each they take about 1.5 GB
_KEPT = 2  # sessions: an evaluation compares a few weights
_log: Callable[[str], None] | None = None  # of the command that asked for the fastest; None: JAX is asked for
_sessions: list[tuple[dict, Any]] = []  # parameters and the session that was made of them, the latest last
_said: set[str] = set()


@contextlib.contextmanager
def fastest(log: Callable[[str], None]) -> Iterator[None]:
    """Within the block the fastest of what is installed computes the network, in all threads.

    `log` is called with a line when the network runs for the first time, and says what computes it.
    """
    global _log
    _log = log
    _said.clear()
    try:
        yield
    finally:
        _log = None
        _sessions.clear()


def onnx_session(model: FusionNet, params: dict) -> Any | None:
    """The ONNX Runtime session that computes this network faster than JAX; None: there is none.

    That is so on CPUs, in float32, if onnx and onnxruntime are installed (`pip install "edmf-jax[onnx]"`), and if
    `fastest` asked for it.
    """
    if _log is None:
        return None
    device = jax.devices()[0]
    if device.platform != "cpu" or model.dtype != np.float32 or not _is_installed():
        _say(f"the network runs in JAX, in {np.dtype(model.dtype)} on the device {device.device_kind!r}")
        return None
    for known, session in _sessions:
        if known is params:
            return session
    import onnxruntime

    session = make_session(params)
    _sessions.append((params, session))
    del _sessions[:-_KEPT]
    _say(f"the network runs in ONNX Runtime {onnxruntime.__version__} on the CPU")
    return session


def pieces_at_once() -> int:
    """How many pieces of pictures go through the network at once: 1 on CPUs, which no batch makes faster."""
    return 1 if jax.devices()[0].platform == "cpu" else _PIECES_AT_ONCE


def make_session(params: dict) -> Any:
    """An `onnxruntime.InferenceSession` of the network with these parameters; run it with `run`."""
    import onnxruntime

    from edmf_jax.weights.exporting.onnx_graph import to_onnx

    params = jax.tree.map(np.asarray, params)
    config = {"model": {"width": params["conv1"]["bias"].size, "dtype": "float32"}}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(to_onnx(Weights(params, config, "network")), options,
                                        providers=["CPUExecutionProvider"])


def run(session: Any, luma_a: np.ndarray, luma_b: np.ndarray) -> np.ndarray:
    """`core.model.fuse_luma` of planes `[B, H, W]`, float32 in [0, 1], by a session of `make_session`."""
    a, b = (np.ascontiguousarray(x, np.float32) for x in (luma_a, luma_b))
    return session.run(None, {"a": a, "b": b})[0]


def _is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def _say(line: str) -> None:
    if line not in _said:
        _said.add(line)
        _log(line)

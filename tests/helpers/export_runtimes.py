"""For the tests of export: random weights, the output of JAX for them, and the runtime of each format."""

import functools
import warnings

import jax
import numpy as np
import pytest

from edmf_jax.core.model import fuse_luma, init_params, make_model
from edmf_jax.weights.store import Weights


def random_weights(width):
    """He-initialized kernels, and biases that are not zero, so that a lost or exchanged one is noticed."""
    rng = np.random.default_rng(width)
    shapes = jax.eval_shape(lambda key: init_params(make_model(width), key), jax.random.key(0))

    def draw(leaf):
        deviation = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) == 4 else 0.1
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    return Weights(jax.tree.map(draw, shapes), {"model": {"width": width, "dtype": "float32"}}, "a test",
                   provenance={"source": "a täst"})


# The inner layers have more than 32 channels, so the CPU form of the convolutions differs from the other one.
WEIGHTS = random_weights(17)


def run_stablehlo(path):
    from jax import export

    exported = export.deserialize(path.read_bytes())
    return lambda a, b: np.asarray(exported.call(a, b))


def run_onnx(path):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda a, b: session.run(["fused"], {"a": a, "b": b})[0]


def tflite_interpreter(path):
    tf = pytest.importorskip("tensorflow")
    with warnings.catch_warnings():
        # TensorFlow announces that the interpreter moves to a package of its own, LiteRT.
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        return tf.lite.Interpreter(str(path))


def run_tflite(path):
    runner = tflite_interpreter(path).get_signature_runner("edmf_fuse_luma")
    return lambda a, b: runner(a=a, b=b)["fused"]


RUN = {"stablehlo": run_stablehlo, "onnx": run_onnx, "tflite": run_tflite}


@functools.partial(jax.jit, static_argnums=0)
def fuse(width, params, a, b):
    return fuse_luma(make_model(width), params, a, b)


@functools.lru_cache
def reference(shape):
    """Two pictures that include pure black and white, and the network's output, all of `shape`."""
    a, b = np.clip(np.random.default_rng(shape).normal(0.5, 0.4, (2, *shape)), 0, 1).astype(np.float32)
    return a, b, np.asarray(fuse(17, WEIGHTS.params, a, b))

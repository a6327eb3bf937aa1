"""The network for TFLite (LiteRT), converted from TensorFlow operations.

jax2tf is not used, because the converter accepts StableHLO with fixed sizes only.  All operations are TFLite's own
(no Flex delegate).  TFLite has no bicubic resize, so upsampling is a weighted sum of four slices, as in
`model.upsample2`.
"""

import json
import os
from typing import Any

from edmf_jax.weights.exporting.contract import INPUTS, LAYOUT, NAME, OUTPUT, apply_network, import_for_format, metadata
from edmf_jax.weights.store import Weights

# Cubic kernel (a = -0.75) at distances 1.75, 0.75, 0.25 and 1.25 from its center: output 2i lies at source i - 1/4.
_TAPS = (-0.03515625, 0.26171875, 0.87890625, -0.10546875)


def to_tflite(weights: Weights) -> bytes:
    """A TFLite model of the function that `edmf_jax.weights.exporting` describes, with metadata.

    It has one signature, `edmf_fuse_luma`.

    Raises:
      UserError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the converter logs every stage
    tf = import_for_format("tensorflow", "tflite", "tensorflow", "train")
    module = tf.Module()
    plane = [tf.TensorSpec((None, None, None), tf.float32, name=name) for name in INPUTS]
    function = tf.function(lambda a, b: {OUTPUT: _network(tf, weights.params, a, b)}, input_signature=plane,
                           autograph=False)
    module.fuse = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    return _add_metadata(converter.convert(), weights)


def _add_metadata(model: bytes, weights: Weights) -> bytes:
    """Adds a description, the signature's name and metadata (JSON in the buffer "edmf") to the converter's file."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    tree.description = f"{NAME}: {LAYOUT}"
    tree.signatureDefs[0].signatureKey = NAME
    buffer = schema.BufferT()
    buffer.data = list(json.dumps(metadata(weights), sort_keys=True).encode())
    tree.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "edmf", len(tree.buffers) - 1
    tree.metadata = [*(tree.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _network(tf: Any, params: dict, a: Any, b: Any) -> Any:
    """The fused plane as a TensorFlow tensor; tensors inside are `[batch, height, width, channel]`."""
    def conv(name: str, *parts: Any, stride: int = 1, activation: str = "relu") -> Any:
        x = tf.concat(parts, -1) if len(parts) > 1 else parts[0]
        padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        out = tf.nn.conv2d(padded, params[name]["kernel"], stride, "VALID") + params[name]["bias"]
        return tf.nn.relu(out) if activation == "relu" else tf.tanh(out)

    def upsample(x: Any, like: Any) -> Any:
        size = tf.shape(like)
        return _upsample_axis(tf, _upsample_axis(tf, x, 1), 2)[:, : size[1], : size[2]]

    return tf.squeeze(apply_network(tf.stack([a, b], -1), conv, upsample), -1)


def _upsample_axis(tf: Any, x: Any, axis: int) -> Any:
    """`model.upsample2` along one axis of `[batch, height, width, channel]`."""
    def part(array: Any, start: Any, stop: Any) -> Any:
        return array[(slice(None),) * axis + (slice(start, stop),)]

    first, last = part(x, None, 1), part(x, -1, None)
    padded = tf.concat([first, first, x, last, last], axis)
    size = tf.shape(x)[axis]
    phases = [sum(weight * part(padded, start + tap, start + tap + size) for tap, weight in enumerate(taps))
              for start, taps in ((0, _TAPS), (1, _TAPS[::-1]))]
    shape = [*tf.unstack(tf.shape(x)[:3]), x.shape[-1]]
    shape[axis] = 2 * size
    return tf.reshape(tf.stack(phases, axis + 1), shape)

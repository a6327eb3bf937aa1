"""The network as an ONNX graph, built node by node: twelve `Conv` after reflected `Pad`, and the upsampling.

Opset 17 and IR version 8 (2022), which the runtimes of recent years read.  Inside the graph, tensors are
`[batch, channel, height, width]`.
"""

import functools
from typing import Any

import numpy as np

from edmf_jax.core.upsampling import cubic_weights
from edmf_jax.weights.exporting.contract import (
    INPUT_LAYOUT,
    INPUTS,
    LAYOUT,
    NAME,
    OUTPUT,
    OUTPUT_LAYOUT,
    apply_network,
    import_for_format,
    metadata,
)
from edmf_jax.weights.store import Weights

OPSET, IR_VERSION = 17, 8
_SHAPE = ("batch", "height", "width")


class Graph:
    """Collects nodes and constants; every method returns the name of the tensor that it adds."""

    def __init__(self, onnx: Any):
        self.onnx, self.nodes, self.constants = onnx, [], {}

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: Any, dtype: type = np.int64) -> str:
        self.constants[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(values, dtype), name)
        return name


def to_onnx(weights: Weights) -> bytes:
    """A serialized `ModelProto` of the function that `edmf_jax.weights.exporting` describes, with metadata.

    Raises:
      UserError: onnx is not installed.
    """
    onnx = import_for_format("onnx", "onnx", "onnx", "export")
    graph = Graph(onnx)
    _add_network(graph, weights.params)
    float32 = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info(name, float32, _SHAPE, doc_string=INPUT_LAYOUT) for name in INPUTS]
    output = onnx.helper.make_tensor_value_info(OUTPUT, float32, _SHAPE, doc_string=OUTPUT_LAYOUT)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, NAME, inputs, [output], list(graph.constants.values()), LAYOUT),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edmf-jax",
        doc_string=LAYOUT)
    onnx.helper.set_model_props(model, metadata(weights))
    return model.SerializeToString(deterministic=True)


def _phase_kernels() -> list[np.ndarray]:
    """`upsample2` as four correlations `[5, 5]` of the edge-padded plane, one for each pixel of a 2 × 2 block."""
    along = [np.append(cubic_weights(0.75), 0), np.insert(cubic_weights(0.25), 0, 0)]
    return [np.outer(rows, columns) for rows in along for columns in along]


def _add_network(graph: Graph, params: dict) -> None:
    """Adds all layers, from the inputs `INPUTS` to the output `OUTPUT`."""
    channel = graph.constant("channel_axis", [1])

    @functools.cache  # up to five layers read a feature map
    def reflected(x: str) -> str:
        return graph.node("Pad", x, graph.constant("border", [0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect")

    def conv(name: str, *parts: str, stride: int = 1, activation: str = "relu") -> str:
        parts = [reflected(part) for part in parts]
        padded = graph.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        kernel = graph.constant(f"{name}/kernel", np.transpose(params[name]["kernel"], (3, 2, 0, 1)), np.float32)
        bias = graph.constant(f"{name}/bias", params[name]["bias"], np.float32)
        out = graph.node("Conv", padded, kernel, bias, output=name, kernel_shape=[3, 3], strides=[stride, stride])
        return graph.node(activation.capitalize(), out)

    def upsample(x: str, like: str) -> str:
        # ONNX Runtime spends two thirds of the whole time in its cubic `Resize`, and 5 % in these four convolutions.
        channels = len(params["conv33"]["bias"])
        padded = graph.node("Pad", x, graph.constant("edge", [0, 0, 2, 2, 0, 0, 2, 2]), mode="edge")
        phases = []
        for i, kernel in enumerate(_phase_kernels()):
            kernels = graph.constant(f"phase{i}/kernel", np.tile(kernel, (channels, 1, 1, 1)), np.float32)
            phases.append(graph.node("Conv", padded, kernels, kernel_shape=[5, 5], group=channels))
        up = graph.node("DepthToSpace", graph.node("Concat", *phases, axis=1), blocksize=2)
        size = graph.node("Shape", like, start=2)
        return graph.node("Slice", up, graph.constant("origin", [0, 0]), size, graph.constant("plane_axes", [2, 3]))

    sources = graph.node("Concat", *(graph.node("Unsqueeze", name, channel) for name in INPUTS), axis=1)
    graph.node("Squeeze", apply_network(sources, conv, upsample), channel, output=OUTPUT)

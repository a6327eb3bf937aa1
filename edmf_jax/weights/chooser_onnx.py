"""The network that chooses (`core.chooser`) as two ONNX graphs, for ONNX Runtime, which needs no compilation.

`encode`: `seen` `[1, FEATURES, H, W]` → `features0`, `features1`, … `[1, c, h, w]`, energies last.
`decode`: `own0`, …, `largest0`, …, `mean0`, … like these, and `behind` `[1, 1, H, W]` → `logits` `[1, 1, H, W]`.

Sides are multiples of `chooser.factor`.  The repair is left out.
"""

import numpy as np

from edmf_jax.core import chooser
from edmf_jax.weights.exporting.contract import import_for_format
from edmf_jax.weights.exporting.onnx_graph import IR_VERSION, OPSET, Graph


class _Graph(Graph):
    """With the layers of the chooser."""

    def __init__(self, onnx, params: chooser.Params):
        super().__init__(onnx)
        self.params = params

    def conv(self, name: str, x: str) -> str:
        kernel = np.transpose(np.asarray(self.params[name]["kernel"]), (3, 2, 0, 1))
        size = kernel.shape[-1]
        return self.node("Conv", x, self.constant(f"{name}/kernel", kernel, np.float32),
                         self.constant(f"{name}/bias", self.params[name]["bias"], np.float32),
                         kernel_shape=[size, size], pads=[size // 2] * 4)

    def activate(self, x: str) -> str:
        return self.node("LeakyRelu", x, alpha=0.1)

    def block(self, name: str, x: str) -> str:
        inner = self.activate(self.conv(f"{name}_a", self.activate(x)))
        return self.node("Add", x, self.conv(f"{name}_b", inner))

    def to_depth(self, x: str) -> str:
        return self.node("SpaceToDepth", x, blocksize=2)

    def twice(self, x: str) -> str:
        return self.node("Resize", x, "", self.constant("twice", [1, 1, 2, 2], np.float32), mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def channels(self, x: str, first: int, last: int) -> str:
        ends = (self.constant(f"at{i}", [i]) for i in (first, last))
        return self.node("Slice", x, *ends, self.constant("channel_axis", [1]))

    def concat(self, *parts: str, output: str | None = None) -> str:
        return self.node("Concat", *parts, axis=1, output=output)


def to_onnx(params: chooser.Params) -> tuple[bytes, bytes]:
    """Serialized models, of `encode` and of `decode`.

    Raises:
      UserError: onnx is not installed.
    """
    onnx = import_for_format("onnx", "onnx", "onnx", "export")
    widths = [params[f"own{scale}"]["kernel"].shape[-1] for scale in range(chooser.scales(params))]
    return _encode(onnx, params, widths), _decode(onnx, params, widths)


def _encode(onnx, params: chooser.Params, widths: list[int]) -> bytes:
    graph = _Graph(onnx, params)
    detail = graph.node("Abs", graph.channels("seen", 1, 6))  # of luma near and wide, its mean, Cb and Cr
    chroma = graph.node("Add", graph.channels(detail, 3, 4), graph.channels(detail, 4, 5))
    energy = graph.concat(graph.channels(detail, 0, 2), chroma)
    halved = lambda x: graph.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph.conv("stem", graph.to_depth("seen"))
    for scale in range(len(widths)):
        if scale:
            x = graph.conv(f"down{scale}", graph.to_depth(graph.activate(x)))
        energy = halved(energy)
        x = graph.block(f"encode{scale}", x)
        graph.concat(graph.activate(x), energy, output=f"features{scale}")
    features = [(f"features{scale}", width + chooser.ENERGIES) for scale, width in enumerate(widths)]
    return _model(graph, "encode", [("seen", chooser.FEATURES)], features)


def _decode(onnx, params: chooser.Params, widths: list[int]) -> bytes:
    graph, x = _Graph(onnx, params), None
    floor = graph.constant("floor", [chooser.ENERGY_FLOOR], np.float32)
    zero = graph.constant("zero", [0.0], np.float32)
    for scale in reversed(range(len(widths))):
        width, parts, energy = widths[scale], {}, {}
        for name in ("own", "largest", "mean"):
            parts[name] = graph.channels(f"{name}{scale}", 0, width)
            amount = graph.node("Max", graph.channels(f"{name}{scale}", width, width + chooser.ENERGIES), zero)
            energy[name] = graph.node("Log", graph.node("Add", amount, floor))
        compared = [graph.node("Sub", energy["own"], energy[name]) for name in ("mean", "largest")]
        if scale == 0:
            scaled = graph.node("Div", "behind", graph.constant("power", [chooser.POWER], np.float32))
            most = graph.constant("most_behind", [-chooser.MOST_BEHIND], np.float32)
            compared.append(graph.to_depth(graph.node("Max", scaled, most)))
        mixed = graph.node("Add", graph.conv(f"own{scale}", parts["own"]),
                           graph.conv(f"pooled{scale}", graph.concat(parts["largest"], parts["mean"])))
        mixed = graph.node("Add", mixed, graph.conv(f"compare{scale}", graph.concat(*compared)))
        x = mixed if x is None else graph.node("Add", mixed, graph.twice(graph.conv(f"up{scale}", graph.activate(x))))
        for name in chooser.decoder_blocks(scale, len(widths)):
            x = graph.block(name, x)
    out = graph.node("DepthToSpace", graph.conv("head", graph.activate(x)), blocksize=2, mode="DCR")
    correction = graph.node("Mul", graph.channels(out, 0, 1),
                            graph.constant("strength", [chooser.STRENGTH], np.float32))
    graph.node("Add", "behind", correction, output="logits")
    pooled = [(f"{name}{scale}", width + chooser.ENERGIES) for name in ("own", "largest", "mean")
              for scale, width in enumerate(widths)]
    return _model(graph, "decode", [*pooled, ("behind", 1)], [("logits", 1)])


def _model(graph: _Graph, name: str, inputs: list[tuple[str, int]], outputs: list[tuple[str, int]]) -> bytes:
    onnx = graph.onnx
    info = lambda tensors: [onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, (1, count, None, None))
                            for tensor, count in tensors]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, name, info(inputs), info(outputs), list(graph.constants.values())),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edmf-jax")
    return model.SerializeToString(deterministic=True)

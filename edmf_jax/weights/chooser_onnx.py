"""The network that chooses (`core.chooser`) as two ONNX graphs, for OpenCV, which needs no compilation.

    python -m edmf_jax.weights.chooser_onnx FOLDER        writes those of FOLDER/params.npz beside it

`encode`: `seen` `[1, FEATURES, H, W]` → `features0`, `features1`, … `[1, c, h, w]`, energies last.
`decode`: `own0`, …, `largest0`, …, `mean0`, … like these, and `behind` `[1, 1, H, W]` → `logits` `[1, 1, H, W]`.

Sides are multiples of `chooser.factor`.  The graphs name 64 px, because OpenCV 4 wants to know some size when it reads
them; OpenCV takes pictures of any other.  For its older versions there are only convolutions where channels become
pixels or pixels channels.  The repair is left out.
"""

import sys
from pathlib import Path

import numpy as np

from edmf_jax.core import chooser
from edmf_jax.weights.chooser_params import MODELS, load_chooser
from edmf_jax.weights.exporting.contract import import_for_format
from edmf_jax.weights.exporting.onnx_graph import IR_VERSION, OPSET, Graph

_NOMINAL_PX = 64


class _Graph(Graph):
    """With the layers of the chooser."""

    def __init__(self, onnx, params: chooser.Params):
        super().__init__(onnx)
        self.params = params

    def conv(self, name: str, x: str) -> str:
        kernel = np.asarray(self.params[name]["kernel"])
        return self._convolve(x, name, kernel, self.params[name]["bias"], 1, kernel.shape[0] // 2)

    def conv_of_blocks(self, name: str, x: str) -> str:
        """The convolution of `chooser_layers.to_depth` of x: one of twice the size and a stride of 2."""
        kernel = np.asarray(self.params[name]["kernel"])
        size, _, count, outputs = kernel.shape
        blocks = kernel.reshape(size, size, 2, 2, count // 4, outputs).transpose(0, 2, 1, 3, 4, 5)
        return self._convolve(x, name, blocks.reshape(2 * size, 2 * size, count // 4, outputs),
                              self.params[name]["bias"], 2, 2 * (size // 2))

    def corrections(self, x: str) -> str:
        """The first of the outputs of every pixel: four channels, 2×2 px, and these at their places."""
        head = self.params["head"]
        kernel, bias = (np.asarray(head[leaf])[..., :: chooser.OUTPUTS] for leaf in ("kernel", "bias"))
        blocks = self._convolve(x, "head", kernel, bias, 1, kernel.shape[0] // 2)
        return self.node("ConvTranspose", blocks, self.constant("places", np.eye(4).reshape(4, 1, 2, 2), np.float32),
                         kernel_shape=[2, 2], strides=[2, 2])

    def _convolve(self, x: str, name: str, kernel: np.ndarray, bias, stride: int, pad: int) -> str:
        """A convolution with a kernel HWIO."""
        return self.node("Conv", x, self.constant(f"{name}/kernel", kernel.transpose(3, 2, 0, 1), np.float32),
                         self.constant(f"{name}/bias", bias, np.float32), kernel_shape=list(kernel.shape[:2]),
                         strides=[stride] * 2, pads=[pad] * 4)

    def activate(self, x: str) -> str:
        return self.node("LeakyRelu", x, alpha=0.1)

    def block(self, name: str, x: str) -> str:
        inner = self.activate(self.conv(f"{name}_a", self.activate(x)))
        return self.node("Add", x, self.conv(f"{name}_b", inner))

    def to_depth(self, plane: str) -> str:
        return self.node("Conv", plane, self.constant("blocks", np.eye(4).reshape(4, 1, 2, 2), np.float32),
                         kernel_shape=[2, 2], strides=[2, 2])

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
    x = graph.conv_of_blocks("stem", "seen")
    for scale in range(len(widths)):
        if scale:
            x = graph.conv_of_blocks(f"down{scale}", graph.activate(x))
        energy = halved(energy)
        x = graph.block(f"encode{scale}", x)
        graph.concat(graph.activate(x), energy, output=f"features{scale}")
    features = [(f"features{scale}", width + chooser.ENERGIES, scale + 1) for scale, width in enumerate(widths)]
    return _model(graph, "encode", [("seen", chooser.FEATURES, 0)], features)


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
    correction = graph.node("Mul", graph.corrections(graph.activate(x)),
                            graph.constant("strength", [chooser.STRENGTH], np.float32))
    ends = (graph.constant(f"change{i}", sign * chooser.MOST_CHANGE, np.float32) for i, sign in enumerate((-1, 1)))
    graph.node("Add", "behind", graph.node("Clip", correction, *ends), output="logits")
    pooled = [(f"{name}{scale}", width + chooser.ENERGIES, scale + 1) for name in ("own", "largest", "mean")
              for scale, width in enumerate(widths)]
    return _model(graph, "decode", [*pooled, ("behind", 1, 0)], [("logits", 1, 0)])


def _model(graph: _Graph, name: str, inputs: list[tuple[str, int, int]], outputs: list[tuple[str, int, int]]) -> bytes:
    """Inputs and outputs: name, channels, and how often their sides are halved."""
    onnx, sides = graph.onnx, lambda halvings: (_NOMINAL_PX >> halvings,) * 2
    info = lambda tensors: [onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, (1, count, *sides(n)))
                            for tensor, count, n in tensors]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, name, info(inputs), info(outputs), list(graph.constants.values())),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edmf-jax")
    return model.SerializeToString(deterministic=True)


def main(folder: str) -> None:
    """Writes the graphs of FOLDER/params.npz."""
    params, _ = load_chooser(Path(folder) / "params.npz")
    for name, model in zip(MODELS, to_onnx(params)):
        (Path(folder) / name).write_bytes(model)


if __name__ == "__main__":
    main(*sys.argv[1:])

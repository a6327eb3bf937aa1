"""Random weights in the layout of the authors' files, for methods whose own weights may not be passed on.

`tests/golden/make_method_goldens.py` runs the networks in PyTorch with the same numbers.  They come from NumPy's
RandomState, whose stream never changes.
"""

import numpy as np

# PyTorch, IFCNN-MAX.pth: kernels are output × input × window.
IFCNN = {"conv1.weight": (64, 3, 7, 7)}
for _name in ("conv2", "conv3"):
    IFCNN[f"{_name}.conv.weight"] = (64, 64, 3, 3)
    IFCNN |= {f"{_name}.bn.{kind}": (64,) for kind in ("weight", "bias", "running_mean", "running_var")}
IFCNN |= {"conv4.weight": (3, 64, 1, 1), "conv4.bias": (3,)}

# TensorFlow, model.ckpt: kernels are window × input × output.
U2FUSION = {}
for _name, _inputs, _outputs in [
        ("Generator/encoder/conv1_1", 2, 44),
        *((f"Generator/encoder/dense_block_conv{i}", 44 * i, 44) for i in range(1, 6)),
        ("Generator_1/decoder/conv2_1", 264, 128), ("Generator_1/decoder/conv2_2", 128, 64),
        ("Generator_1/decoder/conv2_3", 64, 32), ("Generator_1/decoder/conv2_4", 32, 1)]:
    U2FUSION |= {f"{_name}/kernel": (3, 3, _inputs, _outputs), f"{_name}/bias": (_outputs,)}

# MATLAB, cnnmodel.mat: kernels are input × window (column by column) × output.
_CNN = {"weights_b1_1": (9, 64), "biases_b1_1": (64, 1), "weights_b1_2": (64, 9, 128), "biases_b1_2": (128, 1),
        "weights_b1_3": (128, 9, 256), "biases_b1_3": (256, 1)}
CNN_LIGHT = _CNN | {"weights_output": (512, 64, 2), "biases_output": (2, 1)}
CNN_FULL = _CNN | {"weights_feature": (512, 64, 256), "weights_output": (256, 1, 2)}


def random_weights(shapes: dict[str, tuple[int, ...]], output_axis: int, gain: float = 1.4) -> dict[str, np.ndarray]:
    """float32 arrays: kernels so that activations keep their size, small biases, variances about 1."""
    numbers = np.random.RandomState(20261126)
    weights = {}
    for name, shape in shapes.items():
        values = numbers.standard_normal(shape)
        is_kernel = "bias" not in name and len(shape) > 1
        if is_kernel:
            values *= gain / np.sqrt(values.size / shape[output_axis])
        elif name.endswith(("running_var", "bn.weight")):
            values = 1 + 0.3 * np.tanh(values)
        else:
            values *= 0.1
        weights[name] = values.astype(np.float32)
    return weights


def random_pictures(count: int, height: int, width: int) -> np.ndarray:
    """Smooth random uint8 RGB pictures `[count, height, width, 3]`."""
    numbers = np.random.RandomState(20261127)
    coarse = numbers.uniform(0, 255, (count, height // 6 + 2, width // 6 + 2, 3))
    fine = np.repeat(np.repeat(coarse, 6, 1), 6, 2)[:, :height, :width]
    return (fine + numbers.uniform(-25, 25, fine.shape)).clip(0, 255).astype(np.uint8)

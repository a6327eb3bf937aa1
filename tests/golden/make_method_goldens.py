"""Golden outputs of IFCNN, U2Fusion and CNN with random weights: an independent writing in PyTorch, float64.

    python tests/golden/make_method_goldens.py         (from the repository's root; PyTorch 2.13, CPU, 2026-11-26)

Written from the description of the networks in their papers and programs; shares no code with edmf_jax.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.helpers.method_weights import CNN_FULL, CNN_LIGHT, IFCNN, U2FUSION, random_pictures, random_weights


def tensors(shapes, output_axis, **options):
    weights = random_weights(shapes, output_axis, **options)
    return {name: torch.tensor(x.astype(np.float64)) for name, x in weights.items()}


def ifcnn(pictures):
    w = tensors(IFCNN, 0)
    mean, std = (torch.tensor(x).double().view(1, 3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def block(name, x):
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), w[f"{name}.conv.weight"])
        statistics = (w[f"{name}.bn.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, *statistics, eps=1e-5))

    x = (torch.tensor(pictures / 255.0).permute(0, 3, 1, 2) - mean) / std
    x = block("conv2", F.conv2d(F.pad(x, (3, 3, 3, 3), mode="replicate"), w["conv1.weight"]))
    x = F.conv2d(block("conv3", x.max(0, keepdim=True).values), w["conv4.weight"], w["conv4.bias"])
    return 255 * (x * std + mean).clamp(0, 1)[0].permute(1, 2, 0)


def u2fusion(luma):
    w = tensors(U2FUSION, -1, gain=1.2)

    def conv(name, x):
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, w[f"{name}/kernel"].permute(3, 2, 0, 1), w[f"{name}/bias"])

    x = F.leaky_relu(conv("Generator/encoder/conv1_1", torch.tensor(luma)[None]), 0.2)
    for i in range(1, 6):
        x = torch.cat([F.leaky_relu(conv(f"Generator/encoder/dense_block_conv{i}", x), 0.2), x], 1)
    for i in range(1, 4):
        x = F.leaky_relu(conv(f"Generator_1/decoder/conv2_{i}", x), 0.2)
    return (torch.tanh(conv("Generator_1/decoder/conv2_4", x)) / 2 + 0.5)[0, 0]


def cnn(gray, shapes):
    w = tensors(shapes, -1)

    def kernel(columns, side):  # input × (row + side · column) × output → output × input × row × column
        inputs, _, outputs = columns.shape
        return columns.reshape(inputs, side, side, outputs).permute(3, 0, 2, 1)

    def branch(x):
        x = F.relu(F.conv2d(x, kernel(w["weights_b1_1"][None], 3), w["biases_b1_1"][:, 0], padding=1))
        x = F.relu(F.conv2d(x, kernel(w["weights_b1_2"], 3), w["biases_b1_2"][:, 0], padding=1))
        x = F.max_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2)
        return F.relu(F.conv2d(x, kernel(w["weights_b1_3"], 3), w["biases_b1_3"][:, 0], padding=1))

    x = torch.cat([branch(torch.tensor(plane)[None, None]) for plane in gray], 1)
    if "weights_feature" in w:
        x = F.conv2d(F.conv2d(x, kernel(w["weights_feature"], 8)), kernel(w["weights_output"], 1))
    else:
        x = F.conv2d(x, kernel(w["weights_output"], 8))
    return torch.softmax(x, 1)[0, 1]


def main():
    out = {"ifcnn": ifcnn(random_pictures(3, 37, 52))}
    luma = random_pictures(2, 33, 46)[..., 1] / 255.0
    out["u2fusion"] = u2fusion(luma)
    gray = random_pictures(2, 35, 42)[..., 1] / 255.0
    out["cnn_light"], out["cnn_full"] = cnn(gray, CNN_LIGHT), cnn(gray, CNN_FULL)
    for name, x in out.items():
        print(name, tuple(x.shape), float(x.min()), float(x.mean()), float(x.max()))
    path = Path(__file__).with_name("methods") / "random_weights.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **{name: x.numpy().astype(np.float32) for name, x in out.items()})


if __name__ == "__main__":
    with torch.no_grad():
        main()

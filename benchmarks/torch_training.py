"""The same network, loss and training step in PyTorch, tuned for speed: the reference that ours is compared with.

Written from the paper and docs/paper.md, not translated line by line, with what makes PyTorch fast: planes of all
comparisons in one batch (no loop over the memory), separable Gaussian windows, fused Adam, channels_last
on request.  Planes are `[B, H, W]` or `[B, K, H, W]` in [0, 1], sources `[B, 2, H, W]`.
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F

# Layer: input channels and output channels in units of the width, stride.
LAYERS = {
    "conv1": (2, 1, 1), "conv2": (1, 1, 1), "conv3": (2, 2, 2), "conv4": (2, 2, 1), "conv5": (4, 2, 1),
    "conv6": (6, 2, 1), "conv66": (2, 2, 1), "conv55": (4, 2, 1), "conv44": (4, 2, 1), "conv33": (4, 2, 1),
    "conv22": (3, 1, 1), "conv11": (2, 0, 1),
}
COEFFICIENTS = {"pixel": 1.0, "grad": 10.0, "ssim": 10.0}
WINDOW_PX, SSIM_PX, SSIM_SIGMA = 19, 11, 1.5


class Net(torch.nn.Module):
    """The autoencoder of Fig. 5b on `[B, 2, H, W]`, even sides → `[B, H, W]`."""

    def __init__(self, width: int = 16):
        super().__init__()
        for name, (inputs, outputs, stride) in LAYERS.items():
            channels = 2 if name == "conv1" else inputs * width
            self.add_module(name, torch.nn.Conv2d(channels, outputs * width or 1, 3, stride))

    def _conv(self, name: str, *parts: torch.Tensor) -> torch.Tensor:
        x = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return getattr(self, name)(F.pad(x, (1, 1, 1, 1), mode="reflect"))

    def _relu(self, name: str, *parts: torch.Tensor) -> torch.Tensor:
        return F.relu(self._conv(name, *parts), inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        g1 = self._relu("conv1", x)
        g2 = self._relu("conv2", g1)
        g3 = self._relu("conv3", g1, g2)
        g4 = self._relu("conv4", g3)
        g5 = self._relu("conv5", g3, g4)
        g6 = self._relu("conv6", g3, g4, g5)
        d5 = self._relu("conv55", g5, self._relu("conv66", g6))
        d3 = self._relu("conv33", g3, self._relu("conv44", g4, d5))
        up = F.interpolate(d3, scale_factor=2, mode="bicubic", align_corners=False)
        return torch.tanh(self._conv("conv11", g1, self._relu("conv22", g2, up)))[:, 0]


def load_net(params: dict[str, np.ndarray], *, channels_last: bool, device: str = "cpu") -> Net:
    """The network with our parameters: `{"conv1/kernel": HWIO, "conv1/bias": [O], …}`."""
    net = Net(params["conv1/bias"].shape[0])
    with torch.no_grad():
        for name in LAYERS:
            layer = getattr(net, name)
            layer.weight.copy_(torch.tensor(params[f"{name}/kernel"].transpose(3, 2, 0, 1)))
            layer.bias.copy_(torch.tensor(params[f"{name}/bias"]))
    return net.to(device, memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@functools.cache
def _band(length: int, device: torch.device) -> torch.Tensor:
    """The banded matrix M `[length, length − 10]`: `x @ M` is the valid correlation of x with the Gaussian window."""
    offsets = torch.arange(SSIM_PX, dtype=torch.float64) - SSIM_PX // 2
    weights = torch.exp(-offsets**2 / (2 * SSIM_SIGMA**2))
    columns = torch.arange(length - SSIM_PX + 1)
    band = torch.zeros(length, len(columns), dtype=torch.float64)
    for i, weight in enumerate(weights / weights.sum()):
        band[columns + i, columns] = weight
    return band.float().to(device)


def gaussian(x: torch.Tensor) -> torch.Tensor:
    """Gaussian-weighted local mean over 11×11 px, valid region, of each plane of `[..., H, W]`.

    Separable.  Two products with banded matrices were faster than two convolutions or sums of shifted planes, in
    PyTorch too (CPU, forward and backward, both shapes of the benchmark).
    """
    rows, columns = (_band(length, x.device) for length in x.shape[-2:])
    return rows.T @ (x @ columns)


def _ssim(means, squares, product, of_x, of_y) -> torch.Tensor:
    """SSIM of the planes `of_x` and `of_y` (indices along axis 1) from windowed moments, one number per pair."""
    mean_x, mean_y, square_x, square_y = means[:, of_x], means[:, of_y], squares[:, of_x], squares[:, of_y]
    c1, c2 = 0.01**2, 0.03**2
    both, sums = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    value = ((2 * both + c1) * (2 * (product - both) + c2)) / ((sums + c1) * (square_x + square_y - sums + c2))
    return value.mean((-2, -1))


def laplacian(x: torch.Tensor) -> torch.Tensor:
    """4-neighbor Laplacian with reflected borders of each plane of `[B, K, H, W]`."""
    p = F.pad(x, (1, 1, 1, 1), mode="reflect")
    return p[..., :-2, 1:-1] + p[..., 2:, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:] - 4 * x


def focus_masks(sources: torch.Tensor) -> torch.Tensor:
    """For each source 1 where its local spatial frequency is the larger one, else 0: `[B, 2, H, W]`."""
    row, column = torch.diff(sources, dim=-1).square(), torch.diff(sources, dim=-2).square()
    energy = F.pad(row, (1, 0)) + F.pad(column, (0, 0, 1, 0))
    half = WINDOW_PX // 2
    local = F.avg_pool2d(F.pad(energy, (half, half, half, half), mode="reflect"), WINDOW_PX, 1)
    first = (local[:, 0] >= local[:, 1]).to(sources.dtype)
    return torch.stack([first, 1 - first], 1)


def source_score(planes: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """Mean SSIM to the two sources of each of the planes `[B, K, H, W]`: `[B, K]`."""
    count = planes.shape[1]
    together = torch.cat([planes, sources], 1)
    of_x, of_y = np.repeat(np.arange(count), 2), np.tile([count, count + 1], count)
    means, squares = gaussian(torch.stack([together, together * together]))
    values = _ssim(means, squares, gaussian(together[:, of_x] * together[:, of_y]), of_x, of_y)
    return values.view(-1, count, 2).mean(2)


def total_loss(output, sources, masks, remembered, scores) -> torch.Tensor:
    """Eq. 13, one number per patch: `[B]`; `remembered` `[B, K, H, W]` and their `scores` `[B, K]`."""
    count, once = remembered.shape[1], output[:, None]
    x = torch.cat([once, masks * once], 1)
    y = torch.cat([masks * sources, remembered, sources], 1)
    planes = torch.cat([x, y], 1)
    of_x, of_y = np.array([1, 2] + [0] * (count + 2)), 3 + np.arange(count + 4)
    means, squares = gaussian(torch.stack([planes, planes * planes]))
    similarity = _ssim(means, squares, gaussian(planes[:, of_x] * y), of_x, of_y)
    residual = once - torch.cat([sources, remembered], 1)
    weight = torch.cat([masks, torch.ones_like(remembered)], 1)
    parts = (COEFFICIENTS["pixel"] * (weight * residual).square().mean((-2, -1))
             + COEFFICIENTS["grad"] * (weight * laplacian(residual)).square().mean((-2, -1))
             + COEFFICIENTS["ssim"] * (1 - similarity[:, : count + 2]))
    score = similarity[:, count + 2 :].mean(1, keepdim=True)
    ratios = torch.softmax(torch.cat([score, scores], 1), 1).detach()
    return ratios[:, 0] * parts[:, :2].sum(1) + (ratios[:, 1:] * parts[:, 2:]).sum(1)


def spatial_frequency(planes: torch.Tensor) -> torch.Tensor:
    """√(RF² + CF²) of each plane."""
    row, column = torch.diff(planes, dim=-1).square(), torch.diff(planes, dim=-2).square()
    return torch.sqrt(row.mean((-2, -1)) + column.mean((-2, -1)))


class TorchTraining:
    """Training steps that do what one of ours does, on the same numbers.

    Args:
      inputs: see `inputs.make_inputs`.
      channels_last: the network's memory layout.
    """

    def __init__(self, inputs: dict[str, np.ndarray], *, channels_last: bool, device: str = "cpu"):
        params = {name.removeprefix("param/"): value for name, value in inputs.items() if name.startswith("param/")}
        self.net = load_net(params, channels_last=channels_last, device=device)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.adam = torch.optim.Adam(self.net.parameters(), lr=float(inputs["learning_rate"]), fused=True)
        self.levels = torch.from_numpy(inputs["levels"]).to(device)
        remembered = torch.from_numpy(inputs["remembered"]).to(device)
        self.bank = torch.cat([remembered, torch.zeros_like(remembered[:, :1])], 1)  # the last slot is free
        with torch.no_grad():
            scores = source_score(remembered.float() / 255, self.levels.float() / 255)
        self.scores = torch.cat([scores, torch.zeros_like(scores[:, :1])], 1)
        self.sharpness = torch.zeros_like(self.scores)
        self.order = torch.from_numpy(inputs["order"]).to(device, torch.long)
        self.steps_done = 0

    def input_of(self, sources: torch.Tensor) -> torch.Tensor:
        """Sources `[B, 2, H, W]` in the network's memory layout."""
        return sources.contiguous(memory_format=self.format)

    def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean loss of the patches numbered `batch`, their outputs and sources."""
        sources = self.levels[batch].float() / 255
        masks = focus_masks(sources)
        remembered, scores = self.bank[batch, :-1].float() / 255, self.scores[batch, :-1]
        output = self.net(self.input_of(sources))
        return total_loss(output, sources, masks, remembered, scores).mean(), output, sources

    def step(self) -> torch.Tensor:
        """One step: reads patches and memory, updates the parameters, writes the outputs to the bank; the mean loss."""
        batch = self.order[self.steps_done % len(self.order)]
        self.adam.zero_grad(set_to_none=True)
        loss, output, sources = self.loss(batch)
        loss.backward()
        self.adam.step()
        self.write_memory(batch, output.detach(), sources)
        self.steps_done += 1
        return loss.detach()

    @torch.no_grad()
    def write_memory(self, batch: torch.Tensor, output: torch.Tensor, sources: torch.Tensor) -> None:
        """Writes outputs at 8 bits into the free slot, with their scores and sharpness."""
        levels = (output.clamp(0, 1) * 255).round()
        kept = levels / 255
        self.bank[batch, -1] = levels.to(torch.uint8)
        self.scores[batch, -1] = source_score(kept[:, None], sources)[:, 0]
        self.sharpness[batch, -1] = spatial_frequency(kept)

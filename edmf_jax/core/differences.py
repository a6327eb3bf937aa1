"""Differences between neighboring pixels, for NumPy and JAX alike; importing this needs no JAX."""


def squared_differences(x, xp):
    """Sum of the squared backward differences along rows and columns: `[..., H, W]` → `[..., H, W]`.

    The first column has no difference along rows and the first row none along columns; 0 is taken for these.
    `xp` is the array module, `numpy` or `jax.numpy`.
    """
    row = xp.square(x[..., :, 1:] - x[..., :, :-1])
    column = xp.square(x[..., 1:, :] - x[..., :-1, :])
    no_batch = [(0, 0)] * (x.ndim - 2)
    return xp.pad(row, [*no_batch, (0, 0), (1, 0)]) + xp.pad(column, [*no_batch, (1, 0), (0, 0)])

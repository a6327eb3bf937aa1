"""Training patches: where they are in the pictures, which device owns them, and their order in an epoch (NumPy).

Patches are split into a fixed number of logical shards, over which the order of an epoch is drawn.  A shard owns a
contiguous block of patches, and a device owns whole shards.  So 1, 2, 4 or 8 devices train on the same batches, and a
run can resume on another number of devices.

Terms: a *patch* is a row of the patch table; its *bank row* is the row of the memory bank that holds its outputs.  The
two differ because every shard has equally many bank rows, and the last of a shard may be empty.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from edmf_jax.errors import UserError

FILLER = -1
"""Stands for a missing patch in a batch that is not full."""


def grid_counts(sizes: np.ndarray, patch_px: int, stride_px: int) -> np.ndarray:
    """Number of patches of a regular grid in each image: sizes (height, width) `[n, 2]` → `[n]`."""
    steps = (sizes - patch_px) // stride_px + 1
    return steps[:, 0] * steps[:, 1]


def grid_stride(sizes: np.ndarray, patch_px: int, wanted: int) -> int:
    """The largest stride [px] whose regular grid holds at least `wanted` patches (docs/paper.md, Data and split).

    Raises:
      UserError: even a stride of 1 px gives too few.
    """
    possible = int(grid_counts(sizes, patch_px, 1).sum())
    if possible < wanted:
        raise UserError(
            f"data.patches={wanted}: the {len(sizes)} images hold only {possible} different patches of "
            f"{patch_px}×{patch_px} px; set data.patches to at most that, or a smaller data.patch_px"
        )
    low, high = 1, int(sizes.max())  # bisection: the count falls as the stride grows
    while low < high:
        middle = (low + high + 1) // 2
        if grid_counts(sizes, patch_px, middle).sum() >= wanted:
            low = middle
        else:
            high = middle - 1
    return low


def patch_table(
    sizes: Sequence[tuple[int, int]], names: Sequence[str], patch_px: int, wanted: int, seed: int
) -> np.ndarray:
    """Draws exactly `wanted` patches of the grid: int32 `[wanted, 3]` of (image index, top, left), in image order.

    Args:
      sizes: height and width [px] of each image.
      names: of the images, for error messages.
      patch_px: side of the square patches.
      wanted: number of patches.
      seed: of the choice.

    Raises:
      UserError: an image is smaller than a patch, or there are too few patches.
    """
    sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
    if wanted < 1:
        raise UserError(f"data.patches={wanted}: at least one patch is needed")
    small = np.flatnonzero(sizes.min(1) < patch_px)
    if small.size:
        height, width = sizes[small[0]]
        raise UserError(
            f"data.patch_px={patch_px} is larger than image {names[small[0]]} ({height}×{width} px; {small.size} such "
            f"images of {len(sizes)}); set data.patch_px to at most {sizes.min()}"
        )
    stride = grid_stride(sizes, patch_px, wanted)
    blocks = []
    for image, (height, width) in enumerate(sizes):
        tops, lefts = np.mgrid[0 : height - patch_px + 1 : stride, 0 : width - patch_px + 1 : stride]
        blocks.append(np.stack([np.full(tops.size, image), tops.ravel(), lefts.ravel()], 1))
    grid = np.concatenate(blocks)
    chosen = np.random.default_rng([seed, 0]).choice(len(grid), wanted, replace=False)
    return grid[np.sort(chosen)].astype(np.int32)


@dataclasses.dataclass(frozen=True)
class PatchLayout:
    """How patches are split into shards and batches.

    Shard s owns the bank rows from `s * per_shard` on, `per_shard` of them.  The first `counts[s]` hold its patches,
    the rest are empty.
    """

    patches: int
    shards: int  # logical shards
    batch: int  # patches of one step, over all shards

    def __post_init__(self):
        if self.shards < 1 or self.batch < 1:
            raise UserError(f"data.logical_shards={self.shards} and train.batch={self.batch} must be positive")
        if self.batch % self.shards:
            raise UserError(
                f"train.batch={self.batch} can't be divided among data.logical_shards={self.shards}; "
                f"set train.batch to a multiple of it, or data.logical_shards to a divisor of {self.batch}"
            )
        if self.patches < self.shards:
            raise UserError(f"data.patches={self.patches} is less than data.logical_shards={self.shards}; "
                            "set data.logical_shards to at most the number of patches")

    @property
    def per_shard(self) -> int:
        """Bank rows of each shard."""
        return -(-self.patches // self.shards)

    @property
    def counts(self) -> np.ndarray:
        """Patches in each shard; they differ by one at most."""
        return self.patches // self.shards + (np.arange(self.shards) < self.patches % self.shards)

    @property
    def bank_rows(self) -> int:
        """Rows of the memory bank: one for each patch, and the few empty ones."""
        return self.shards * self.per_shard

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.per_shard // (self.batch // self.shards))

    def check_devices(self, devices: int) -> None:
        """Checks that `devices` devices can own whole shards.

        Raises:
          UserError: they can't.
        """
        if self.shards % devices:
            raise UserError(
                f"data.logical_shards={self.shards} can't be divided among {devices} devices; set it to a "
                f"multiple of {devices} (and train.batch to a multiple of that), or use fewer devices"
            )

    def bank_row_of_patch(self) -> np.ndarray:
        """int64 `[patches]`: the bank row of each patch of the table."""
        return np.concatenate([s * self.per_shard + np.arange(n) for s, n in enumerate(self.counts)])

    def epoch_order(self, seed: int, epoch: int) -> np.ndarray:
        """Bank rows to train on in `epoch` (from 0), int32 `[steps, shards, batch / shards]`, `FILLER` where missing.

        A function of (seed, epoch) and this layout alone.  Every patch occurs once, in an order drawn for each shard.
        """
        each = self.batch // self.shards
        order = np.full((self.shards, self.steps_per_epoch * each), FILLER, np.int32)
        for shard, count in enumerate(self.counts):
            rng = np.random.default_rng([seed, 1, epoch, shard])
            order[shard, :count] = rng.permutation(count) + shard * self.per_shard
        return order.reshape(self.shards, self.steps_per_epoch, each).transpose(1, 0, 2)

    def device_order(self, seed: int, epoch: int, devices: int) -> np.ndarray:
        """`epoch_order` for each device, its bank rows counted from 0: int32 `[devices, steps, batch / devices]`.

        Fillers are numbers from the device's number of rows on, where writes are dropped; no number occurs twice in a
        batch.
        """
        rows_per_device = self.bank_rows // devices
        order = self.epoch_order(seed, epoch).reshape(self.steps_per_epoch, devices, -1).transpose(1, 0, 2)
        first = (np.arange(devices, dtype=np.int32) * rows_per_device)[:, None, None]
        beyond = rows_per_device + np.arange(order.shape[-1], dtype=np.int32)
        return np.where(order == FILLER, beyond, order - first).astype(np.int32)


def pack_shelves(sizes: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """Packs rectangles onto shelves, tallest first: their top-left corners int64 `[n, 2]`, and the height used.

    A shelf is as high as its first rectangle.

    Args:
      sizes: height and width `[n, 2]`.
      width: of the shelves.

    Raises:
      ValueError: a rectangle is wider than `width`.
    """
    if sizes.size and sizes[:, 1].max() > width:
        raise ValueError(f"pack_shelves: width={width} is less than the widest rectangle, {sizes[:, 1].max()}")
    corners = np.zeros((len(sizes), 2), np.int64)
    top, left, shelf_height = 0, 0, 0
    for i in np.lexsort((-sizes[:, 1], -sizes[:, 0])):
        height, item_width = sizes[i]
        if left + item_width > width:
            top, left, shelf_height = top + shelf_height, 0, 0
        corners[i] = top, left
        left, shelf_height = left + item_width, max(shelf_height, height)
    return corners, top + shelf_height


def pack_atlas(pairs: Sequence[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Copies many pairs of planes into one array, so that any patch is one `dynamic_slice` of it.

    Args:
      pairs: uint8 `[2, H, W]` each, of any sizes.
      width: of the atlas [px], at least that of the widest pair.

    Returns:
      uint8 `[2, rows, width]`, and the top-left corner of each pair in it, int64 `[n, 2]`.
    """
    sizes = np.array([p.shape[1:] for p in pairs], np.int64).reshape(-1, 2)
    corners, rows = pack_shelves(sizes, width)
    atlas = np.zeros((2, rows, width), np.uint8)
    for pair, (top, left), (height, pair_width) in zip(pairs, corners, sizes, strict=True):
        atlas[:, top : top + height, left : left + pair_width] = pair
    return atlas, corners

"""The main job in a few minutes: data set, training, a fused picture that was never trained on, scores."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from edmf_jax.color import luma
from edmf_jax.config import find_config, load_config
from edmf_jax.data import import_tfds, open_dataset
from edmf_jax.export import export_run
from edmf_jax.focus import focus_masks, spatial_frequency
from edmf_jax.fusion import fuse
from edmf_jax.images import write_image
from edmf_jax.sheet import contact_sheet
from edmf_jax.ssim import ssim
from edmf_jax.train import train


def demo(workdir: str | Path, *, source: str | None = None, allow_missing: bool = False) -> Path:
    """Builds the data, trains configs/demo.py, fuses the first held-out pair; returns the folder of the pictures.

    Args:
      workdir: everything is written below it; a second call finds the run trained.
      source: folder or ZIP of the published EDMF pairs, instead of the embedded synthetic ones.
      allow_missing: go on with the whole pairs of an incomplete copy.
    """
    name = "edmf" if source else "edmf_synthetic"
    folder = Path(workdir) / name
    data_dir = str(Path(workdir) / "tfds")
    builder = open_dataset(name, data_dir, source=source, allow_missing=allow_missing)
    config = load_config(str(find_config("demo.py")))
    config.data.dataset, config.data.data_dir = name, data_dir
    config.data.allow_missing = allow_missing
    train(config, folder / "run")
    export_run(folder / "run", folder / "weights")

    pair = first_pair(builder, "test")
    fused = fuse([pair["source_a"], pair["source_b"]], weights=folder / "weights", preset="paper")
    pictures = {"sources' average": average(pair), "fused": fused}
    write_image(folder / "fused.png", fused)
    write_image(folder / "sheet.png", make_sheet(pair, fused))
    print(f"\nheld-out pair {int(pair['id'])} of {builder.info.full_name}:")
    print(score_table(pair, pictures))
    print(f"\nfused picture: {folder / 'fused.png'}\nside by side:  {folder / 'sheet.png'}")
    return folder


def first_pair(builder, split: str) -> dict:
    """The first example of a split as NumPy arrays."""
    no_cache = import_tfds().ReadConfig(try_autocache=False)  # a cache that is left half-full warns
    return next(iter(builder.as_dataset(split=split, read_config=no_cache).as_numpy_iterator()))


def average(pair: dict) -> np.ndarray:
    """The plain mean of the sources, what any fusion has to beat: uint8 RGB."""
    return ((pair["source_a"].astype(np.uint16) + pair["source_b"] + 1) // 2).astype(np.uint8)


def _plane(image: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(luma(image.astype(np.float32) / 255))


def common_frame(pair: dict) -> tuple[slice, slice]:
    """Rows and columns that both sources show: without the black borders of registration, where they are known."""
    height, width = pair["source_a"].shape[:2]
    if "border_a" not in pair:
        return slice(0, height), slice(0, width)
    top, bottom, left, right = np.maximum(pair["border_a"], pair["border_b"])
    return slice(top, height - bottom), slice(left, width - right)


def make_sheet(pair: dict, fused: np.ndarray) -> np.ndarray:
    """Sources, focus mask, fused picture and, where there is one, the ground truth."""
    mask, _ = focus_masks(_plane(pair["source_a"]), _plane(pair["source_b"]))
    tiles = [
        ("source A", pair["source_a"]),
        ("source B", pair["source_b"]),
        ("focus mask (white: A sharper)", np.asarray(mask * 255).astype(np.uint8)),
        ("fused", fused),
    ]
    if "truth" in pair:
        tiles += [("ground truth", pair["truth"]), ("error of fused, x4", error_map(fused, pair["truth"]))]
    return contact_sheet(tiles, columns=3 if len(tiles) > 4 else 2)


def error_map(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean absolute difference over the channels, four times enlarged: uint8 `[H, W]`."""
    error = np.abs(image.astype(np.float32) - truth).mean(-1)
    return np.clip(4 * error, 0, 255).astype(np.uint8)


def score_table(pair: dict, pictures: dict[str, np.ndarray]) -> str:
    """A few scores of each picture (luma, where both sources show something), against the truth where there is one."""
    frame = common_frame(pair)
    sources = [_plane(pair["source_a"])[frame], _plane(pair["source_b"])[frame]]
    truth = _plane(pair["truth"])[frame] if "truth" in pair else None
    rows = [f"{'':18}{'sharpness (SF)':>16}{'SSIM to sources':>18}" + ("" if truth is None else f"{'PSNR to truth':>17}"
                                                                           f"{'SSIM to truth':>16}")]
    for name, image in pictures.items():
        plane = _plane(image)[frame]
        row = f"{name:18}{float(spatial_frequency(plane)):16.4f}{float(sum(ssim(plane, s) for s in sources)) / 2:18.4f}"
        if truth is not None:
            psnr = -10 * np.log10(max(float(jnp.mean((plane - truth) ** 2)), 1e-12))
            row += f"{psnr:14.2f} dB{float(ssim(plane, truth)):16.4f}"
        rows.append(row)
    return "\n".join(rows)

"""The paper's method in a few minutes: data set, training, a fused picture that was not trained on, scores."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.core.focus import focus_masks, spatial_frequency
from edmf_jax.core.ssim import ssim
from edmf_jax.data.tfds_reader import import_tfds, keep_tensorflow_on_the_cpu, open_dataset
from edmf_jax.errors import UserError
from edmf_jax.evaluation.store import work_folder
from edmf_jax.fusion.fuse import fuse
from edmf_jax.io.images import write_image
from edmf_jax.reports.contact_sheet import contact_sheet
from edmf_jax.training.config import find_config, load_config
from edmf_jax.training.export_run import export_run
from edmf_jax.training.train import train


def demo(workdir: str | Path, *, source: str | None = None, allow_missing: bool = False) -> Path:
    """Builds the data set, trains with configs/demo.py, fuses the first held-out pair and prints its scores.

    Args:
      workdir: everything is written below it; a second call uses the run that is trained already.
      source: folder or ZIP of the published EDMF pairs; None: the synthetic pairs that the package contains.
      allow_missing: use the complete pairs of an incomplete copy.

    Returns:
      The folder of the pictures.

    Raises:
      UserError: the data set can't be had; `workdir` holds files of no demo, or another process is using it.
    """
    with work_folder(Path(workdir)):
        return _demo(Path(workdir), source, allow_missing)


def _demo(workdir: Path, source: str | None, allow_missing: bool) -> Path:
    """`demo` in a folder whose lock the caller holds."""
    name = "edmf" if source else "edmf_synthetic"
    folder = workdir / name
    found = [path for path in (folder / "weights", folder / "fused.png", folder / "sheet.png") if path.exists()]
    if found and not (folder / "run").is_dir():
        raise UserError(f"--workdir={workdir}: {found[0]} is already there, of no demo in this folder, and would be "
                        "overwritten; choose another folder, or move it away")
    data_dir = str(workdir / "tfds")
    builder = open_dataset(name, data_dir, source=source, allow_missing=allow_missing)
    config = load_config(str(find_config("demo.py")))
    config.data.dataset, config.data.data_dir = name, data_dir
    config.data.allow_missing = allow_missing
    train(config, folder / "run")
    export_run(folder / "run", folder / "weights", force=True)  # an earlier call's

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
    keep_tensorflow_on_the_cpu()
    no_cache = import_tfds().ReadConfig(try_autocache=False)  # TFDS warns of a cache that is only partly filled
    return next(iter(builder.as_dataset(split=split, read_config=no_cache).as_numpy_iterator()))


def average(pair: dict) -> np.ndarray:
    """The plain mean of the sources, which any fusion has to beat: uint8 RGB."""
    return ((pair["source_a"].astype(np.uint16) + pair["source_b"] + 1) // 2).astype(np.uint8)


def _luma_plane(image: np.ndarray) -> jnp.ndarray:
    """Luma in [0, 1] of a uint8 RGB picture."""
    return jnp.asarray(luma(image.astype(np.float32) / 255))


def common_region(pair: dict) -> tuple[slice, slice]:
    """Rows and columns that both sources cover: without the black borders of registration, if the data set has them."""
    height, width = pair["source_a"].shape[:2]
    if "border_a" not in pair:
        return slice(0, height), slice(0, width)
    top, bottom, left, right = np.maximum(pair["border_a"], pair["border_b"])
    return slice(top, height - bottom), slice(left, width - right)


def make_sheet(pair: dict, fused: np.ndarray) -> np.ndarray:
    """A contact sheet: sources, focus mask, fused picture and, if the data set has one, the ground truth: uint8 RGB."""
    mask, _ = focus_masks(_luma_plane(pair["source_a"]), _luma_plane(pair["source_b"]))
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
    """Four times the mean absolute difference over the channels: uint8 `[H, W]`."""
    error = np.abs(image.astype(np.float32) - truth).mean(-1)
    return np.clip(4 * error, 0, 255).astype(np.uint8)


def score_table(pair: dict, pictures: dict[str, np.ndarray]) -> str:
    """A few scores of each picture as text, on luma in the region that both sources cover.

    Args:
      pair: an example of the data set.
      pictures: name → uint8 RGB picture.
    """
    region = common_region(pair)
    sources = [_luma_plane(pair["source_a"])[region], _luma_plane(pair["source_b"])[region]]
    truth = _luma_plane(pair["truth"])[region] if "truth" in pair else None
    rows = [f"{'':18}{'sharpness (SF)':>16}{'SSIM to sources':>18}" + ("" if truth is None else f"{'PSNR to truth':>17}"
                                                                           f"{'SSIM to truth':>16}")]
    for name, image in pictures.items():
        plane = _luma_plane(image)[region]
        row = f"{name:18}{float(spatial_frequency(plane)):16.4f}{float(sum(ssim(plane, s) for s in sources)) / 2:18.4f}"
        if truth is not None:
            psnr = -10 * np.log10(max(float(jnp.mean((plane - truth) ** 2)), 1e-12))
            row += f"{psnr:14.2f} dB{float(ssim(plane, truth)):16.4f}"
        rows.append(row)
    return "\n".join(rows)

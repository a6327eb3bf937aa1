"""Pictures from folders for the chooser: sharp ones to simulate, real pairs, and pairs with a truth to validate on."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core import chooser
from edmf_jax.core.color import to_8_bits
from edmf_jax.core.hand_made import noise_energy
from edmf_jax.errors import UserError
from edmf_jax.io.images import read_image
from edmf_jax.simulate.atlas import Atlas, make_atlas
from edmf_jax.simulate.batch import canvas_px
from edmf_jax.training.chooser_step import whole_shots

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_BUCKET_PX, _MARGIN_PX = (448, 576), 32  # pictures are cropped, and continued mirrored, to one size


class Pair(NamedTuple):
    """Leveled shots, uint8 `[N, h, w, 3]`, and their truth `[h, w, 3]`."""

    name: str
    shots: np.ndarray
    truth: np.ndarray


def _read(path: Path) -> np.ndarray:
    picture = to_8_bits(read_image(path))
    return np.repeat(picture[..., None], 3, -1) if picture.ndim == 2 else picture


def read_atlas(folder: str, patch_px: int) -> tuple[Atlas, str]:
    """The atlas of the pictures in a folder, and a fingerprint of their names and pixels.

    Raises:
      UserError: no folder, or no picture in it that is large enough.
    """
    path = Path(folder)
    if not folder or not path.is_dir():
        raise UserError(f"data.pictures={folder!r}: there is no such folder; name one of sharp pictures")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    pictures = [_read(file) for file in files]
    try:
        return make_atlas(pictures, canvas_px(patch_px)), _fingerprint([file.name for file in files], pictures)
    except ValueError as error:
        raise UserError(f"data.pictures={folder}: {error} for data.patch_px={patch_px}; add larger pictures, or set "
                        "data.patch_px lower") from error


def _fingerprint(names: Sequence[str], pictures: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, picture in zip(names, pictures):
        digest.update(f"{name} {picture.shape}\n".encode())
        digest.update(picture.tobytes())
    return digest.hexdigest()


def read_real_pairs(folder: str, patch_px: int) -> tuple[list[np.ndarray], str]:
    """Registered, leveled pairs without a truth, uint8 `[2, h, w, 3]` each, and a fingerprint of them.

    Args:
      folder: of folders with two or more `shot-*.*`, of which the first two are taken; "" for none.
      patch_px: smaller pictures are left out.

    Raises:
      UserError: no such folder, no pair in it that is large enough, or shots that differ in size.
    """
    if not folder:
        return [], ""
    if not Path(folder).is_dir():
        raise UserError(f"data.real={folder}: there is no such folder; leave it empty for no real pairs")
    names, pairs = [], []
    for place in sorted(Path(folder).iterdir()):
        shots = [_read(file) for file in sorted(place.glob("shot-*"))[:2]]
        if len({shot.shape for shot in shots}) > 1:
            raise UserError(f"{place}: its pictures differ in size")
        if len(shots) == 2 and min(shots[0].shape[:2]) >= patch_px:
            names.append(place.name)
            pairs.append(np.stack(shots))
    if not pairs:
        raise UserError(f"data.real={folder}: it holds no folder with shot-0.png and shot-1.png of at least "
                        f"data.patch_px={patch_px} px; make some with `python -m studies.chooser_pictures real`")
    return pairs, _fingerprint(names, pairs)


def cut_patches(pairs: Sequence[np.ndarray], count: int, patch_px: int, rng: np.random.Generator) -> np.ndarray:
    """Patches of random pairs of `read_real_pairs`, half of them left to right: uint8 `[count, 2, P, P, 3]`."""
    patches = []
    for number in rng.integers(len(pairs), size=count):
        top, left = (rng.integers(side - patch_px + 1) for side in pairs[number].shape[1:3])
        patch = pairs[number][:, top : top + patch_px, left : left + patch_px]
        patches.append(patch[:, :, ::-1] if rng.integers(2) else patch)
    return np.stack(patches)


def read_pairs(folder: str) -> list[Pair]:
    """The pairs in the folders of `folder`, each with `truth.*` and two or more `shot-*.*`; cropped to the middle.

    Raises:
      UserError: no such folder, or nothing in it.
    """
    if not folder:
        return []
    if not Path(folder).is_dir():
        raise UserError(f"validation.folder={folder}: there is no such folder; leave it empty for no validation")
    pairs = []
    for place in sorted(Path(folder).iterdir()):
        shots, truth = sorted(place.glob("shot-*")), sorted(place.glob("truth.*"))
        if len(shots) > 1 and truth:
            pictures = [_middle(_read(file)) for file in (*shots, truth[0])]
            if len({picture.shape for picture in pictures}) > 1:
                raise UserError(f"{place}: its pictures differ in size")
            pairs.append(Pair(place.name, np.stack(pictures[:-1]), pictures[-1]))
    if not pairs:
        raise UserError(f"validation.folder={folder}: it holds no folder with shot-*.png and truth.png")
    return pairs


def _middle(picture: np.ndarray) -> np.ndarray:
    most = [side - 2 * _MARGIN_PX for side in _BUCKET_PX]
    if picture.shape[0] > picture.shape[1]:
        picture = picture.swapaxes(0, 1)  # a portrait lies down; nothing here knows up from down
    top, left = (max(0, (side - limit) // 2) for side, limit in zip(picture.shape, most))
    return picture[top : top + most[0], left : left + most[1]]


@jax.jit
def _fuse(params, pixels):
    """Means `[3, H, W, 3]` of shots `[N, H, W, 3]` in [0, 1]: by hand-made weights, the network's, and repaired."""
    pixels = pixels[None]
    shots = whole_shots(pixels, noise_energy(pixels))
    chosen = chooser.choice(*chooser.choose(params, shots))
    mean = lambda weights: (weights[..., None] * pixels).sum(1)[0]
    network = mean(chosen.weights)
    return jnp.stack([mean(chooser.softmax(shots.hand)), network, network + chosen.repair[0]])


def fuse_pair(params: chooser.Params, pair: Pair) -> np.ndarray:
    """Uint8 `[3, h, w, 3]`: the mean of a pair's shots by the hand-made weights, by the network's, and repaired."""
    height, width = pair.truth.shape[:2]
    after = [side - _MARGIN_PX - n for side, n in zip(_BUCKET_PX, (height, width))]
    padded = np.pad(pair.shots, ((0, 0), (_MARGIN_PX, after[0]), (_MARGIN_PX, after[1]), (0, 0)), mode="reflect")
    fused = np.asarray(_fuse(params, padded.astype(np.float32) / 255))
    fused = fused[:, _MARGIN_PX : _MARGIN_PX + height, _MARGIN_PX : _MARGIN_PX + width]
    return np.rint(255 * np.clip(fused, 0, 1)).astype(np.uint8)


def validate(params: chooser.Params, pairs: list[Pair], rim_px: int,
             log: Callable[[str], None] = lambda line: None) -> dict[str, list[float]]:
    """Mean PSNR [dB] of RGB without a rim: hand-made, network, repaired; for each kind of pair (its name's beginning).

    Args:
      params: the network's.
      pairs: see `read_pairs`.
      rim_px: not scored on each side.
      log: takes a line a pair.
    """
    scores = defaultdict(list)
    for pair in pairs:
        part = (slice(None), slice(rim_px, -rim_px), slice(rim_px, -rim_px))
        difference = fuse_pair(params, pair)[part].astype(np.float64) - pair.truth[None][part]
        psnr = 10 * np.log10(255**2 / np.maximum(np.square(difference).mean((1, 2, 3)), 1e-3))
        log(f"{pair.name}: " + ", ".join(f"{x:.2f}" for x in psnr))
        scores[re.sub(r"\W*\d+$", "", pair.name)].append(psnr)
    return {kind: np.mean(rows, 0).tolist() for kind, rows in scores.items()}

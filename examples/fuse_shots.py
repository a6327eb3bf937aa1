# %% [markdown]
# # From hand-held shots to one picture
#
# Run it as a script, `python examples/fuse_shots.py [SHOT SHOT …] [-o FOLDER]`, or cell by cell in an editor that
# supports `# %%`.  Without shots of your own it makes two of one scene, focused near and far; the second is a stop
# darker, warmer, and taken from a slightly different position.  Nothing is downloaded, and no network is used.
"""From hand-held shots to one picture, step by step: make or read, align, fuse, compare, save."""

# %%
import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.core.exposures import tone_curve
from edmf_jax.errors import UserError
from edmf_jax.fusion import stack
from edmf_jax.io.images import write_image
from edmf_jax.io.palette_png import shot_colors, write_map
from edmf_jax.io.photographs import read_shot
from edmf_jax.metrics import evaluate_to_truth

IN_NOTEBOOK = "ipykernel" in sys.modules
EXPOSURE = "average"  # or "reference", "well-exposed": docs/exposure.md

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("shots", nargs="*", help="your own shots, the reference first")
parser.add_argument("-o", "--out", default="work/example", help="folder for the results (default: %(default)s)")
arguments = parser.parse_args([] if IN_NOTEBOOK else None)  # a kernel's arguments are not ours
out = Path(arguments.out)


# %% [markdown]
# ## Shots
#
# The synthetic ones show a wall of colored tiles behind a disc with text on it.


# %%
def make_scene(height: int = 300, width: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A sharp picture uint8 `[H, W, 3]`, and the mask of the disc, float32 `[H, W, 1]`: 1 on it, else 0."""
    rng = np.random.default_rng(7)
    grain = lambda sigma: 30 * cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), sigma)
    tiles = rng.integers(50, 190, (height // 20, width // 20, 3)).astype(np.uint8)
    wall = cv2.resize(tiles, (width, height), interpolation=cv2.INTER_NEAREST) + grain(0.8)[..., None]
    disc = np.full((height, width, 3), (205, 180, 120), np.uint8)
    for row in range(20, height, 22):
        cv2.putText(disc, "near and far " * 4, (10 - row % 60, row), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (60, 40, 90), 2)
    near = np.zeros((height, width), np.float32)
    near = cv2.circle(near, (width // 3, height // 2), height // 3, 1.0, -1)[..., None]
    return np.clip(near * (disc + grain(1.0)[..., None]) + (1 - near) * wall, 8, 245).astype(np.uint8), near


def defocused(picture: np.ndarray, share: np.ndarray, radius_px: float = 3.0) -> np.ndarray:
    """`picture` out of focus by the mask `share` `[H, W, 1]` in [0, 1]; blurred in linear light."""
    light = cv2.GaussianBlur((picture / 255.0) ** 2.2, (0, 0), radius_px) ** (1 / 2.2)
    return np.rint(share * 255 * light + (1 - share) * picture).astype(np.uint8)


def exposed(picture: np.ndarray, stops: tuple[float, float, float]) -> np.ndarray:
    """`picture` as a camera writes it with so many stops more of R, G and B."""
    channels = [np.rint(255 * tone_curve(s, 1.0))[picture[..., c]] for c, s in enumerate(stops)]
    return np.stack(channels, -1).astype(np.uint8)


def hand_held(picture: np.ndarray) -> np.ndarray:
    """`picture` from a camera that has moved: shifted by some px, turned by half a degree, one per cent larger."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0.5, 1.01)
    matrix[:, 2] += 4.5, -3.0
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


truth = None
if arguments.shots:
    names = arguments.shots
    shots = [read_shot(name) for name in names]
else:
    names = ["near", "far"]
    sharp, near = make_scene()
    first, second = (0.4, 0.4, 0.4), (-0.5, -0.6, -0.75)
    shots = [exposed(defocused(sharp, 1 - near), first), hand_held(exposed(defocused(sharp, near), second))]
    # The sharp picture at the exposure that "average" aims at.
    truth = np.rint((exposed(sharp, first).astype(float) + exposed(sharp, second)) / 2).astype(np.uint8)
print(", ".join(f"{name} {shot.shape[1]}×{shot.shape[0]} px" for name, shot in zip(names, shots)))

# %% [markdown]
# ## Align
#
# `fuse_photos` does this itself; it is a step of its own here to show its result.  An uncertain registration is an
# error.

# %%
options = stack.PhotoOptions(align="pso-sift", exposure=EXPOSURE, crop=True)
try:
    aligned = list(stack.align_photos(shots, names, options=options))
except UserError as error:  # print one line instead of a traceback
    raise SystemExit(str(error)) from error
for number, _, valid, found in aligned[1:]:
    print(f"{names[number]}: moved {np.hypot(*found.matrix[:2, 2]):.1f} px at the corner, {found.inliers} matches, "
          f"residual {found.residual_px:.2f} px, covers {100 * valid.mean():.0f} % of {names[0]}")

# %% [markdown]
# ## Fuse

# %%
result = stack.fuse_photos(shots, names, options=options)
for number, stops in enumerate(result.stops):
    print(f"{names[number]}: {stops:+.2f} stops, {100 * (result.sources == number).mean():.0f} % of the picture")
top, left, height, width = result.frame
frame = slice(top, top + height), slice(left, left + width)
if truth is not None:
    for name, picture in (("fused", result.image), *((n, a[1]) for n, a in zip(names, aligned))):
        picture = picture if name == "fused" else picture[frame]
        scores = evaluate_to_truth(picture, truth[frame])
        print(f"{name} against the truth: PSNR {scores['PSNR']:.1f} dB, SSIM {scores['SSIM']:.3f}, "
              f"ΔE {scores['ΔE2000']:.2f}")

# %% [markdown]
# ## Save and compare
#
# The fused picture, the map of the shot that each pixel comes from, and a sheet of both beside the aligned shots.

# %%
out.mkdir(parents=True, exist_ok=True)
write_image(out / "fused.png", result.image)
write_map(out / "map.png", result.sources, names)
to_8_bits = lambda x: (x / (np.iinfo(x.dtype).max / 255)).astype(np.uint8)
color = lambda x: np.repeat(x.reshape(*x.shape[:2], -1), 3 if x.ndim == 2 or x.shape[2] == 1 else 1, axis=2)
panels = [color(to_8_bits(x)) for x in (*(a[1][frame] for a in aligned), result.image)]
sheet = np.concatenate([*panels, shot_colors(len(shots))[result.sources]], axis=1)
write_image(out / "sheet.png", sheet)
print(f"{out / 'fused.png'}, {out / 'map.png'}, {out / 'sheet.png'}")
if IN_NOTEBOOK:
    from IPython.display import Image, display

    display(Image(str(out / "sheet.png")))

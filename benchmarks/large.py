"""Peak memory and time of `edmf fuse` on large pictures and long stacks.

`python -m benchmarks.large --megapixels 12 48 100 --stack 30x24` fuses a pair of each size and a stack of
30 shots of 24 megapixels, each in a process of its own, from JPEG to PNG.  The shots are synthetic: a
texture, each shot sharp in its own stripe, moved by a small known map, of alternating exposure.

The whole command is measured, start and imports included: peak resident memory, wall-clock seconds and processor
seconds (wall-clock time means little on a machine with other work).  How exact the registration is, is measured by
`studies.registration`.
"""

import argparse
import concurrent.futures
import dataclasses
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks import process, table

ASPECT = (3, 4)  # height to width
SIGMA_SHARE = 8e-4  # blur of the stripes out of focus: standard deviation as a share of the width
MAX_TURN_DEGREES, MAX_ZOOM, MAX_SHIFT = 0.4, 0.006, 0.006  # zoom and shift as shares of the size
STOPS = 0.4  # exposure of every other shot, above and below the reference's in turn
OCTAVES = 8


@dataclasses.dataclass(frozen=True)
class CommandCost:
    """Memory and time of one run of a command.

    Attributes:
      peak_bytes: peak resident memory.
      wall_s: seconds from start to end.
      processor_s: user and system seconds of all its threads.
    """

    peak_bytes: int
    wall_s: float
    processor_s: float


def size_of(megapixels: float) -> tuple[int, int]:
    """Height and width of a 4:3 picture of about `megapixels`."""
    unit = (megapixels * 1e6 / (ASPECT[0] * ASPECT[1])) ** 0.5
    return round(ASPECT[0] * unit), round(ASPECT[1] * unit)


def texture(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A scene with detail at every scale, uint8 `[H, W, 3]`: octaves of noise, the finest of about 2 px."""
    height, width = shape
    plane = np.zeros(shape, np.float32)
    for octave in range(OCTAVES):
        cells = max(2, height // 2 ** (octave + 1)), max(2, width // 2 ** (octave + 1))
        noise = rng.standard_normal(cells, np.float32) * np.float32(0.06 * 1.25**octave)
        plane += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    scene = np.empty((*shape, 3), np.uint8)
    for channel in range(3):
        tint = cv2.resize(rng.standard_normal((6, 8), np.float32) * np.float32(0.08), (width, height),
                          interpolation=cv2.INTER_CUBIC)
        scene[..., channel] = np.clip((plane * np.float32(0.6) + tint + np.float32(0.45)) * 255, 4, 251)
    return scene


def small_map(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A random similarity as between two hand-held shots: 3×3, reference px → moving px."""
    height, width = shape[:2]
    angle, zoom = np.radians(rng.uniform(-MAX_TURN_DEGREES, MAX_TURN_DEGREES)), 1 + rng.uniform(-MAX_ZOOM, MAX_ZOOM)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([width - 1, height - 1]) / 2
    shift = middle - turn @ middle + rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * width
    return np.vstack([np.c_[turn, shift], [0, 0, 1]])


def make_shots(folder: str, megapixels: float, count: int, seed: int = 0) -> list[str]:
    """Writes `count` JPEGs into `folder`; returns their paths, the reference first."""
    rng = np.random.default_rng(seed)
    sharp = texture(rng, size_of(megapixels))
    soft = cv2.GaussianBlur(sharp, (0, 0), SIGMA_SHARE * sharp.shape[1])
    edges = np.linspace(0, sharp.shape[1], count + 1).astype(int)
    paths = []
    for number, (left, right) in enumerate(itertools.pairwise(edges)):
        shot = soft.copy()
        shot[:, left:right] = sharp[:, left:right]
        if number:
            shot = cv2.warpPerspective(shot, small_map(rng, shot.shape), shot.shape[1::-1], flags=cv2.INTER_CUBIC,
                                       borderMode=cv2.BORDER_REFLECT_101)
            gain = 2 ** (STOPS if number % 2 else -STOPS)
            levels = np.clip(((np.arange(256) / 255) ** 2.2 * gain) ** (1 / 2.2) * 255, 0, 255)
            shot = cv2.LUT(shot, np.uint8(np.rint(levels)))
        paths.append(str(Path(folder) / f"shot-{number:03d}.jpg"))
        if not cv2.imwrite(paths[-1], shot, (cv2.IMWRITE_JPEG_QUALITY, 92)):
            raise RuntimeError(f"{paths[-1]} can't be written; is the disk full?")
    return paths


def measure(command: list[str]) -> CommandCost:
    """Runs a command to its end and measures it.

    On some systems a child's peak starts at its parent's, so this process must stay small itself.

    Raises:
      RuntimeError: the command failed.
    """
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} … ended with {child.returncode}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return CommandCost(peak, time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def fuse(megapixels: float, count: int, options: list[str], folder: Path | None = None) -> CommandCost:
    """Makes the shots, fuses them, and deletes all files.

    Args:
      megapixels: of each shot.
      count: how many shots.
      options: more options for `edmf fuse`.
      folder: where files are kept meanwhile; None: the system's folder of temporary files.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        # In another process, because memory used here would count as the command's.
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            shots = pool.submit(make_shots, name, megapixels, count).result()
        return measure([sys.executable, "-m", "edmf_jax.cli.main", "fuse", *shots, "-o", str(Path(name) / "fused.png"),
                        *options])


def parse_stack(text: str) -> tuple[int, float]:
    """30x24 → 30 shots of 24 megapixels."""
    count, _, megapixels = text.partition("x")
    try:
        return int(count), float(megapixels)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no stack; write 30x24 for 30 shots of 24 MP") from error


def main() -> None:
    """Measures one case after the other, printing each, and prints the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", nargs="*", type=float, default=[], help="pairs of these sizes")
    parser.add_argument("--stack", "--bracket", nargs="*", type=parse_stack, default=[], dest="stacks",
                        metavar="COUNTxMEGAPIXELS", help="stacks, such as 30x24: 30 shots of 24 MP")
    parser.add_argument("--folder", type=Path, help="where the shots are kept meanwhile")
    parser.add_argument("--json", type=Path, help="a line for each run is added to it")
    parser.add_argument("--options", default="", help="more options for `edmf fuse`, in one word")
    options = parser.parse_args()
    cases = [(2, megapixels) for megapixels in options.megapixels] + options.stacks
    rows = []
    for count, megapixels in cases:
        load = process.load_average()
        found = fuse(megapixels, count, options.options.split(), options.folder)
        name, height_width = f"edmf fuse: {count} × {megapixels:g} MP", size_of(megapixels)
        note = (f"{height_width[1]}×{height_width[0]} px, {found.wall_s:.0f} s by the clock, {found.processor_s:.0f} s "
                f"of processor time, load average before {load}")
        print(f"{name}: {found.peak_bytes / 1e9:.2f} GB, {note}", file=sys.stderr, flush=True)
        rows.append(table.measured(f"{name}: peak memory", "GB", [found.peak_bytes / 1e9], note))
        if options.json:
            with open(options.json, "a", encoding="utf-8") as lines:
                lines.write(json.dumps({"shots": count, "megapixels": megapixels, **dataclasses.asdict(found)}) + "\n")
    print(table.markdown(rows, {"processor": f"{process.processor()}, {process.cores()} cores"}))


if __name__ == "__main__":
    main()

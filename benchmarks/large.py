"""Peak memory and time of `edmf fuse` on large pictures and long brackets.

`python -m benchmarks.large --megapixels 12 48 100 --bracket 30x24` fuses a pair of each size and a bracket of
30 shots of 24 megapixels, each in a process of its own, from JPEG to PNG.  The shots are made here: a
synthetic texture, each shot sharp in its own stripe, moved by a small known map, of alternating exposure.

What is measured is the whole command, start and imports included: the largest resident
set that the system saw, wall-clock and processor seconds (the wall clock means little on a machine that does other
things too), and how far the map that was found is from the known one is `benchmarks.registration`'s.
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

SHAPE = (3, 4)  # height to width
SIGMA_SHARE = 8e-4  # of the width: how far the other stripes are out of focus
TURN_DEGREES, ZOOM, SHIFT = 0.4, 0.006, 0.006  # the largest; zoom and shift as shares
STOPS = 0.4
OCTAVES = 8


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run of the command.

    Attributes:
      peak_bytes: the largest resident set.
      wall_s, processor_s: from start to end; user and system time of all its threads.
    """

    peak_bytes: int
    wall_s: float
    processor_s: float


def size_of(megapixels: float) -> tuple[int, int]:
    """Height and width of a 4:3 picture of about so many megapixels."""
    unit = (megapixels * 1e6 / (SHAPE[0] * SHAPE[1])) ** 0.5
    return round(SHAPE[0] * unit), round(SHAPE[1] * unit)


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
    """A similarity as between two shots from the hand, reference px → moving px."""
    height, width = shape[:2]
    angle, zoom = np.radians(rng.uniform(-TURN_DEGREES, TURN_DEGREES)), 1 + rng.uniform(-ZOOM, ZOOM)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([width - 1, height - 1]) / 2
    shift = middle - turn @ middle + rng.uniform(-SHIFT, SHIFT, 2) * width
    return np.vstack([np.c_[turn, shift], [0, 0, 1]])


def make_shots(folder: str, megapixels: float, count: int, seed: int = 0) -> list[str]:
    """Writes `count` JPEGs into `folder`; their paths, the reference first."""
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


def measure(command: list[str]) -> Measured:
    """Runs a command to its end.

    A child begins with its parent's peak on some systems, so this process must stay small itself.

    Raises:
      RuntimeError: it failed.
    """
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} … ended with {child.returncode}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Measured(peak, time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def fuse(megapixels: float, count: int, options: list[str], folder: Path | None = None) -> Measured:
    """Makes the shots, fuses them, and forgets all; `folder` is where, default the system's for such things."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        # In a process of its own, for its memory would count as the command's.
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            shots = pool.submit(make_shots, name, megapixels, count).result()
        return measure([sys.executable, "-m", "edmf_jax.main", "fuse", *shots, "-o", str(Path(name) / "fused.png"),
                        *options])


def bracket(text: str) -> tuple[int, float]:
    """30x24 → 30 shots of 24 megapixels."""
    count, _, megapixels = text.partition("x")
    try:
        return int(count), float(megapixels)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no bracket; write 30x24 for 30 shots of 24 MP") from error


def main() -> None:
    """Measures one after the other, prints each at once, and the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", nargs="*", type=float, default=[], help="pairs of these sizes")
    parser.add_argument("--bracket", nargs="*", type=bracket, default=[], help="such as 30x24: 30 shots of 24 MP")
    parser.add_argument("--folder", type=Path, help="where the shots lie meanwhile")
    parser.add_argument("--json", type=Path, help="a line for each run is added to it")
    parser.add_argument("--options", default="", help="more options for `edmf fuse`, in one word")
    options = parser.parse_args()
    cases = [(2, megapixels) for megapixels in options.megapixels] + options.bracket
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

"""How fast shots are blended on this machine's device and on its CPU, and how far the two pictures differ.

    python -m studies.device.fuse_rates -o OUT [--seconds 200] [--megapixels 1 6 24] [--weights none chooser]

Two made-up shots of each size, registered, of two exposures, one of which ends before the frame: what `edmf fuse` does
with shots that are read, placed and leveled.  OUT/fuse-rates.json is written after each number.  On a machine without
an accelerator the device is the CPU, by XLA: then only small sizes are worth while.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import jax
import numpy as np

from edmf_jax.fusion.stack import blend, device_blend, evidence, reblur, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.leveling import level
from edmf_jax.fusion.stack.visits import Visits
from edmf_jax.fusion.stack.weighted_mean import Blended, empty
from edmf_jax.registration.threads import usable_cores
from edmf_jax.weights.chooser_params import find_chooser, load_chooser
from studies.device.measuring import Record

ASPECT = 1.5
_TEXTURE_PX, _ENDS_PX = 1024, 12
_FIRST_SECONDS = 30.0  # a guess, with compiling; nothing is begun without time for it
_CPU_SECONDS = 1.5  # a megapixel


def made_up(megapixels: float, seed: int = 0) -> tuple[list[AlignedShot], list[float]]:
    """Two shots, uint8 in color, each sharp where the other is not, and the energies of their noise."""
    height = max(64, round((megapixels * 1e6 / ASPECT) ** 0.5))
    shape = height, round(ASPECT * height), 3
    rng = np.random.default_rng(seed)
    texture = np.zeros((_TEXTURE_PX, _TEXTURE_PX, 3), np.float32)
    for octave in range(7):
        side = 8 << octave
        plane = rng.random((side, side, 3), np.float32)
        texture += cv2.resize(plane, (_TEXTURE_PX,) * 2, interpolation=cv2.INTER_CUBIC) * 0.7**octave
    texture = (texture - texture.min()) / np.ptp(texture)
    sharp = np.tile(texture, (*(-(-side // _TEXTURE_PX) for side in shape[:2]), 1))[: shape[0], : shape[1]]
    y, x = (np.arange(side, dtype=np.float32) / 400 for side in shape[:2])
    near = (np.sin(7 * y)[:, None] + np.sin(5 * x + 1)[None] > 0)[..., None]
    soft = cv2.GaussianBlur(sharp, (0, 0), 3.0)
    pictures = [np.where(near, sharp, soft), np.where(near, soft, sharp) * np.float32(0.9)]
    images = [np.uint8(np.clip(np.rint(255 * one + rng.standard_normal(shape, np.float32)), 0, 255))
              for one in pictures]
    valid = np.ones(shape[:2], bool)
    valid[:_ENDS_PX] = valid[:, -_ENDS_PX:] = False
    curves = [tone.reference_curve(3), np.tile(np.minimum(0.9 * tone.GRID, 1), (3, 1))]
    shots = [AlignedShot(image, own, None, level(curve, None, curves, curves[0], shape))
             for image, own, curve in zip(images, (None, valid), curves)]
    return shots, evidence.plausible_noise([evidence.noise_energy(image, 255.0) for image in images])


@contextlib.contextmanager
def edges(refined: bool) -> Iterator[None]:
    """Within the block edges of depth are refined or not."""
    before, reblur.ROUNDS = reblur.ROUNDS, reblur.ROUNDS if refined else 0
    try:
        yield
    finally:
        reblur.ROUNDS = before


def on_device(shots: list[AlignedShot], noises: list[float], params, device: jax.Device) -> Blended:
    """The picture by `device_blend`."""
    visits = device_blend.UnmeasuredVisits(shots.__getitem__, noises, list(range(len(shots))))
    return device_blend.blend_on_device(visits, shots[0].image.shape, np.dtype(np.uint8), device=device,
                                        report=lambda what: None, params=params)


def on_cpu(shots: list[AlignedShot], noises: list[float], computes) -> Blended:
    """The picture by `blend`."""
    visits = Visits(shots.__getitem__, noises, list(range(len(shots))))
    with jax.default_device(jax.devices("cpu")[0]):
        if computes is not None:
            from edmf_jax.fusion.stack.chooser import ChosenVisits

            visits = ChosenVisits(visits, computes, shots[0].image.shape)
        return blend.blend(visits, shots[0].image.shape, np.dtype(np.uint8), report=lambda what: None)


def stages(shots: list[AlignedShot], noises: list[float], params, device: jax.Device) -> dict[str, float]:
    """Seconds of each step on the device, each waited for."""
    shape = shots[0].image.shape
    visits = device_blend.UnmeasuredVisits(shots.__getitem__, noises, list(range(len(shots))))
    found, waits = {}, lambda work: jax.block_until_ready((work._by, work._totals, work._shares))
    with jax.default_device(device), ThreadPoolExecutor(usable_cores()) as pool:
        work = device_blend.Work(visits, shape, device, {}, None, pool)
        blended = empty(shape, np.dtype(np.uint8), 2)
        for name, step in (("send and measure", lambda: work.measure(lambda what: None)),
                           ("network", lambda: params and work.correct(params)), ("share", work.share),
                           ("sum up, edges, fetch", lambda: work.finish(blended, reblur.CAP, True))):
            found[name], _ = timed(lambda: (step(), waits(work)))  # noqa: B023
    return found


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Seconds of a call, and what it returns."""
    began = time.perf_counter()
    result = call()
    return round(time.perf_counter() - began, 4), result


def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The largest difference of two pictures of 8 bits, and the share of values that differ by more than one level."""
    difference = cv2.absdiff(a, b)
    return {"largest": int(difference.max()), "share above 1": float((difference > 1).mean())}


def measure(record: Record, megapixels: float, weights: str, device: jax.Device) -> None:
    """All numbers of one size and choice."""
    name = f"{megapixels:g} MP, {weights}"
    shots, noises = made_up(megapixels)
    params = computes = None
    if weights != "none":
        params, _ = load_chooser(str(find_chooser(weights)))
    with edges(False):
        first, picture = timed(lambda: on_device(shots, noises, params, device))
        record.add(f"{name}: device, first call", first)
        times = [timed(lambda: on_device(shots, noises, params, device)) for _ in range(3)]
        record.add(f"{name}: device, warm", min(seconds for seconds, _ in times))
        record.add(f"{name}: most bytes on the device", (device.memory_stats() or {}).get("peak_bytes_in_use"))
        if not record.has_time(_CPU_SECONDS * megapixels, f"{name}: CPU"):
            return
        if weights != "none":
            from edmf_jax.fusion.stack.chooser_engine import engine

            with jax.default_device(jax.devices("cpu")[0]):
                computes = engine(str(find_chooser(weights)))
            on_cpu(shots, noises, computes)  # compiles, if it is JAX that computes
        seconds, other = timed(lambda: on_cpu(shots, noises, computes))
        record.add(f"{name}: CPU", seconds)
        record.add(f"{name}: difference", compare(picture.image, other.image))
    if record.has_time(_CPU_SECONDS * megapixels, f"{name}: with edges refined"):
        first, picture = timed(lambda: on_device(shots, noises, params, device))
        times = [timed(lambda: on_device(shots, noises, params, device))[0] for _ in range(3)]
        record.add(f"{name}: device, edges refined", {"first": first, "warm": min(times)})
        record.add(f"{name}: steps on the device", stages(shots, noises, params, device))
        seconds, other = timed(lambda: on_cpu(shots, noises, computes))
        record.add(f"{name}: CPU, edges refined", seconds)
        record.add(f"{name}: difference, edges refined", compare(picture.image, other.image))


def main(argv: list[str] | None = None) -> None:
    """Measures one size after the other, the smallest first."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.fuse_rates", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--seconds", type=float, default=200, metavar="S", help="nothing is begun that would end later")
    parser.add_argument("--megapixels", type=float, nargs="+", default=(1, 6, 24), metavar="MP")
    parser.add_argument("--weights", nargs="+", default=("none", "chooser"), metavar="NAME", help="none, chooser")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    record, device = Record(args.output / "fuse-rates.json", args.seconds), jax.devices()[0]
    record.add("device", device.device_kind)
    for megapixels in args.megapixels:
        for weights in args.weights:
            name = f"{megapixels:g} MP, {weights}"
            record.guarded(name, _FIRST_SECONDS, measure, record, megapixels, weights, device)


if __name__ == "__main__":
    main()

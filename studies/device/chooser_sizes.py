"""Networks of several sizes that choose, taught by the same simulated shots until the time is up.

    python -m studies.device.chooser_sizes --pictures SHARP --seconds 500 -o OUT [--sizes small medium large] \\
        [--config.data.shots_per_step=96 …]

One simulation feeds them all, so they differ by their size alone, and optics, the larger part of a step, are computed
once.  The learning rate follows a cosine over the time, not over a number of steps, because nobody knows how many steps
a machine makes.  All programs are compiled at once on threads first.  OUT/SIZE.npz has the averaged parameters as
`edmf fuse --weights` takes them, written every minute and at the end; OUT/SIZE-PERCENT.npz those on the way;
OUT/chooser-sizes.jsonl the log.
"""

import argparse
import functools
import json
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from edmf_jax.core import chooser
from edmf_jax.runtime.process import enable_compilation_cache, versions
from edmf_jax.simulate.batch import Batch, develop, draw_exposures
from edmf_jax.training.chooser import check_chooser_config, shots_of_step
from edmf_jax.training.chooser_data import read_atlas
from edmf_jax.training.chooser_step import initial_state, starting_from, train_on
from edmf_jax.training.config import as_stored, load_config
from edmf_jax.training.run_dir import PACKAGES
from edmf_jax.weights.chooser_params import load_chooser, save_chooser

SAVE_S, STOP_S = 60.0, 8.0
"""Seconds between savings, and those kept for the last one."""
KEPT = (50, 75)
"""Percent of the time at which parameters are kept besides."""
_LEAST_RATE = 0.01  # of the learning rate, at the end


class Student:
    """A network in training: its parameters and optimizer, and the jitted step.

    Args:
      config: of the run, its size set.
      init: parameters to start from; None: random ones.
    """

    def __init__(self, config: ConfigDict, init: dict | None = None):
        self.config = config
        self.state = jax.jit(lambda: initial_state(config))()
        if init:
            self.state = starting_from(self.state, init)
        self.step = jax.jit(functools.partial(train_on, config=config), donate_argnums=0)

    def train(self, batch: Batch, rate: float) -> dict[str, jax.Array]:
        """One step; its report, which may not be computed yet."""
        self.state, report = self.step(self.state, batch, rate=rate)
        return report

    def compile_for(self, batch: Batch) -> None:
        """Compiles the step for batches of that shape, and changes nothing."""
        jax.block_until_ready(self.step(jax.tree.map(jnp.copy, self.state), batch, rate=0.0))


class Simulation:
    """Batches of a configuration; `data.uses` steps in a row have the same scenes."""

    def __init__(self, config: ConfigDict):
        self.config, self.ranges = config, check_chooser_config(config)
        atlas, self.fingerprint = read_atlas(config.data.pictures, config.data.patch_px)
        self.atlas = jax.tree.map(jnp.asarray, atlas)
        self.key = jax.random.key(config.seed, impl="rbg")
        self._exposed = -1, None

    def numbers_of_shots(self) -> list[int]:
        """All that steps may have."""
        return [2 + i for i, share in enumerate(self.config.data.shot_shares) if share > 0]

    def expose(self, number: int, shots: int):
        """The scenes of a step through their lenses."""
        samples = max(1, self.config.data.shots_per_step // shots)
        return draw_exposures(jax.random.fold_in(self.key, number), self.atlas, samples, shots,
                              self.config.data.patch_px, self.ranges)

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        number, use = divmod(step, self.config.data.uses)
        if self._exposed[0] != number:
            self._exposed = number, self.expose(number, shots_of_step(self.config, step))
        return self.developed(self._exposed, use)

    def developed(self, exposed, use: int) -> Batch:
        """What the cameras make of exposures `(number, …)`."""
        key = jax.random.fold_in(jax.random.fold_in(self.key, exposed[0]), 1 + use)
        return develop(key, exposed[1], self.ranges, turn=use)


def rate_at(progress: float, config: ConfigDict, step: int) -> float:
    """The learning rate at a part of the time: a cosine, and a linear beginning of `train.warmup_steps`."""
    cosine = _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + np.cos(np.pi * min(progress, 1.0)))
    return float(config.train.learning_rate * cosine * min(1.0, (step + 1) / max(config.train.warmup_steps, 1)))


def compile_all(simulation: Simulation, students: Sequence[Student], log) -> None:
    """Compiles what all steps need, at once on threads."""
    began = time.perf_counter()

    def simulated(shots: int) -> Batch:
        batch = simulation.developed((0, simulation.expose(0, shots)), 0)
        log(f"the simulation of {shots} shots runs after {time.perf_counter() - began:.0f} s")
        return jax.block_until_ready(batch)

    def blank(shots: int) -> Batch:
        samples, side = max(1, simulation.config.data.shots_per_step // shots), simulation.config.data.patch_px
        planes = lambda dtype: jnp.zeros((samples, shots, side, side), dtype)
        return Batch(jnp.zeros((samples, shots, side, side, 3)), planes(bool), planes(jnp.float32),
                     jnp.zeros((samples, side, side, 3)), planes(jnp.float32))

    numbers = simulation.numbers_of_shots()
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(simulated, shots) for shots in numbers]
        done += [pool.submit(student.compile_for, blank(shots)) for shots in numbers for student in students]
        for future in done:
            future.result()
    log(f"all is compiled after {time.perf_counter() - began:.0f} s")


def run(simulation: Simulation, students: Sequence[Student], out: Path, seconds: float, log) -> None:
    """Trains all students on each batch until the time is up or a signal asks to stop; not at all without time left."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda which, _: stopped.append(which))
    began = saved = logged = time.perf_counter()
    step, config, kept = 0, simulation.config, list(KEPT)
    with (out / "chooser-sizes.jsonl").open("a") as file:
        while not stopped and (passed := time.perf_counter() - began) < seconds:
            progress = passed / seconds
            rate, batch = rate_at(progress, config, step), simulation.batch(step)
            reports = [student.train(batch, rate) for student in students]
            step += 1
            now = time.perf_counter()
            if step % config.train.log_every_steps == 0:
                row = {"step": step, "seconds": round(now - began, 1), "rate": rate, **{
                    student.config.model.size: {name: round(float(x), 5) for name, x in report.items()}
                    for student, report in zip(students, jax.device_get(reports))}}
                file.write(json.dumps(row) + "\n")
                file.flush()
                if now - logged > SAVE_S / 2:
                    log(json.dumps(row))
                    logged = now
            if kept and 100 * progress >= kept[0]:
                save(students, out, step, f"-{kept.pop(0)}")
            if now - saved > SAVE_S:
                save(students, out, step)
                saved = now
    save(students, out, step)
    log(f"{step} steps in {time.perf_counter() - began:.0f} s")


def save(students: Sequence[Student], out: Path, step: int, suffix: str = "") -> None:
    """Writes the averaged parameters of all."""
    for student in students:
        size = student.config.model.size
        about = {"size": size, "step": step, "config": as_stored(student.config), "versions": versions(PACKAGES),
                 "device": jax.devices()[0].device_kind}
        save_chooser(out / f"{size}{suffix}.npz", student.state.opt_state.average, about)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.chooser_sizes", description=__doc__.splitlines()[0],
                                     epilog="Any field of configs/chooser.py is set by --config.field=value.")
    parser.add_argument("--pictures", required=True, metavar="DIR", help="sharp pictures")
    parser.add_argument("--seconds", type=float, required=True, help="the time from now on")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--sizes", nargs="+", choices=chooser.SIZES, default=list(chooser.SIZES), metavar="SIZE",
                        help="small, medium, large (default: all)")
    parser.add_argument("--init", nargs="*", default=[], metavar="FILE", help="parameters that sizes start from")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Trains."""
    began = time.perf_counter()
    args, fields = make_parser().parse_known_args(argv)
    log = lambda line: print(f"{time.perf_counter() - began:.0f} s: {line}", flush=True)
    enable_compilation_cache()
    config = load_config("chooser.py", [*fields, f"--config.data.pictures={args.pictures}"])
    args.output.mkdir(parents=True, exist_ok=True)
    begun = {about["size"]: params for params, about in map(load_chooser, args.init)}
    students = []
    for size in args.sizes:
        own = config.copy_and_resolve_references()
        own.model.size = size
        students.append(Student(own, begun.get(size)))
    simulation = Simulation(config)
    log(f"{len(simulation.atlas.boxes)} pictures, {jax.devices()[0]}, parameters: "
        + ", ".join(f"{s.config.model.size} {chooser.count_params(s.state.params)}" for s in students))
    compile_all(simulation, students, log)
    run(simulation, students, args.output, args.seconds - (time.perf_counter() - began) - STOP_S, log)


if __name__ == "__main__":
    main()

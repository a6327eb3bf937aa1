"""Fuses and scores all pairs by all methods, each picture once, whenever the run was stopped.

Three steps overlap: pictures are decoded ahead, the main thread fuses, and another thread stores and scores what was
fused.  Each row is written as soon as its picture is scored.  On an accelerator the network fuses several pictures at
once, so that it has no picture to wait for.
"""

import collections
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from edmf_jax.data.pairs import Pairs, Scene
from edmf_jax.errors import UserError
from edmf_jax.evaluation.methods import Method
from edmf_jax.evaluation.scoring import STORES, as_stored, encode, score
from edmf_jax.evaluation.store import ScoreStore
from edmf_jax.fusion import engine
from edmf_jax.io.atomic import replace_file
from edmf_jax.runtime.interrupt import Interrupted, InterruptFlag

_DECODING_THREADS = 4
_DECODED_AHEAD, _WAITING_TO_BE_SCORED = 4, 4  # pictures, at most; bounds the memory
_AT_ONCE, _AT_ONCE_PX = 8, 16e6  # on an accelerator: pictures that are fused together, and their pixels, at most


class Job(NamedTuple):
    """One method to run on all pairs.

    Attributes:
      method: the method.
      store: where its scores are written.
      file_format: how its pictures are stored, a key of `STORES`.
      metrics: names of the metrics to compute.
      rim_px: not scored on each side.
    """

    method: Method
    store: ScoreStore
    file_format: str
    metrics: Sequence[str]
    rim_px: int = 0

    def is_pending(self, pair_id: str) -> bool:
        """Whether this pair still has to be fused and scored."""
        return pair_id not in self.store.rows and pair_id not in self.method.missing

    def fused_path(self, pair_id: str) -> Path:
        """The file of the fused picture."""
        return self.store.folder / "fused" / f"{pair_id}{STORES[self.file_format][0]}"


def run_jobs(pairs: Pairs, jobs: Sequence[Job], log: Callable[[str], None]) -> None:
    """Fuses and scores all pending pairs; `log` is called with a line for the user.

    Raises:
      UserError: a picture can't be fused, or was changed after it was scored; all that was done before is kept.
      Interrupted: SIGINT or SIGTERM.
    """
    for job in jobs:
        _check_unchanged(job)
    total = len(pairs.ids) * len(jobs) - sum(len(job.method.missing) for job in jobs)
    pending = sum(job.is_pending(pair_id) for job in jobs for pair_id in pairs.ids)
    if 0 < pending < total:
        log(f"{total - pending} of {total} pictures are scored already: continuing with the other {pending}")
    seconds: dict[str, list[float]] = {job.method.name: [] for job in jobs}
    with (InterruptFlag() as flag, ThreadPoolExecutor(_DECODING_THREADS) as decoders, ThreadPoolExecutor(1) as scorer,
          tqdm(total=total, initial=total - pending, desc="fuse and score", unit="picture", disable=None) as bar):
        records = (record for record in pairs.records() if any(job.is_pending(record.id) for job in jobs))
        at_once = 1 if engine.pieces_at_once() == 1 else _AT_ONCE
        scenes = _map_ahead(decoders, pairs.decode, records, max(_DECODED_AHEAD, at_once)) if pending else ()
        scoring: collections.deque[tuple[Job, str, Future]] = collections.deque()
        try:
            for job, several in _steps(scenes, jobs, at_once):
                if flag.signal:
                    break
                start = time.perf_counter()
                fused = [np.asarray(picture) for picture in job.method.fuse_all(several)]  # waits for a device
                seconds[job.method.name] += [(time.perf_counter() - start) / len(several)] * len(several)
                for scene, picture in zip(several, fused, strict=True):
                    scoring.append((job, scene.id, scorer.submit(_store_and_score, job, scene, picture)))
                while len(scoring) > _WAITING_TO_BE_SCORED:
                    _add_oldest_score(scoring, bar)
        finally:  # keep what is done, also if a picture can't be fused
            while scoring:
                _add_oldest_score(scoring, bar)
        if flag.signal:
            pending = sum(job.is_pending(pair_id) for job in jobs for pair_id in pairs.ids)
            raise Interrupted(f"stopped; {total - pending} of {total} pictures are scored; the same command continues",
                              flag.signal)
    for name, times in seconds.items():
        if times:
            log(f"{name}: {np.median(times):.3f} s to fuse a picture (median)")


def _map_ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """`map(function, items)` in a pool of threads, computed `ahead` results ahead of the consumer."""
    futures: collections.deque[Future] = collections.deque()
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) > ahead:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def _steps(scenes: Iterable[Scene], jobs: Sequence[Job], at_once: int) -> Iterator[tuple[Job, list[Scene]]]:
    """A method and what it fuses in one go: a scene, or up to `at_once` if it is one that gains by that."""
    for group in _groups(scenes, at_once):
        for job in jobs:
            pending = [scene for scene in group if job.is_pending(scene.id)]
            if pending and job.method.fuse_several is not None:
                yield job, pending
            else:
                yield from ((job, [scene]) for scene in pending)


def _groups(scenes: Iterable[Scene], at_once: int) -> Iterator[list[Scene]]:
    """Scenes that follow each other: up to `at_once`, of up to `_AT_ONCE_PX` pixels together, but one at least."""
    group, pixels = [], 0
    for scene in scenes:
        size = scene.a.shape[0] * scene.a.shape[1]
        if group and (len(group) == at_once or pixels + size > _AT_ONCE_PX):
            yield group
            group, pixels = [], 0
        group.append(scene)
        pixels += size
    if group:
        yield group


def _store_and_score(job: Job, scene: Scene, fused: np.ndarray) -> dict[str, float]:
    data = encode(fused, job.file_format)
    replace_file(job.fused_path(scene.id), data)
    return score(scene, as_stored(fused, data, job.file_format), job.metrics, job.rim_px)


def _add_oldest_score(scoring: collections.deque, bar: tqdm) -> None:
    """Waits for the picture that was submitted first and writes its row."""
    job, pair_id, future = scoring.popleft()
    job.store.add(pair_id, future.result())
    bar.update()


def _check_unchanged(job: Job) -> None:
    """Raises UserError if a picture of a `folder:` method was replaced after it was scored."""
    for pair_id, path in job.method.pictures.items():
        stored = job.fused_path(pair_id)
        if pair_id in job.store.rows and stored.is_file() and path.stat().st_mtime > stored.stat().st_mtime:
            raise UserError(f"{path} was changed after it was scored; delete {job.store.folder} to score it again")

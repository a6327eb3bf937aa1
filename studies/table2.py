"""Rows of Table 2: every method on every pair of a data set, for one process or several that share the pairs.

    python -m studies.table2 edmf EDMF -o rows.csv
    python -m studies.table2 edmf EDMF -o rows-1.csv --claims CLAIMS --seconds 480     (of several: each its own -o)
    python -m studies.table2 mfi-whu MFI-WHU -o rows.csv --exposures half-stop-gamma --inner 20 --first 24
    python -m studies.table2 edmf EDMF -o reduced.csv --longest-px 96 --pairs 50 150 250 --methods max-sf zmff

The pairs are taken in one random order, always the same, so the first ones are a fair sample of all.  Of every pair
come the rows `default` and `jpeg75` (the same picture, stored as JPEG); for MFI-WHU with --inner also `inner`, scored
without so many pixels at each edge.  The first --published pairs also come as the methods' authors save them
(`published`), the first --swapped pairs with the shots in the other order (`swapped`) and with the traps of
`studies.save_traps`.  A row is pair, method, variant, seconds of a core for fusing, SHA-256 of the stored file, scores.
A stopped run goes on where it stopped.  With --longest-px both shots, and the truth, are first reduced by averaging
over areas: that is for ZMFF, which would need hours for a whole pair.  With --pictures the fused pictures are kept
where `edmf report` looks for them; `studies.table2_page` says for which pairs.

`edmf-fuse` is what `edmf fuse` does by default, `edmf-fuse-hand-made` with `--weights none`, `edmf-fuse-average` with
`--exposure average`; a pair that it refuses has the word "refused" in place of the hash, and no scores.
"""

import argparse
import csv
import functools
import hashlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.core.exposures import CONDITIONS
from edmf_jax.data.pairs import Scene
from edmf_jax.errors import UserError
from edmf_jax.evaluation.methods import make_methods, slug_of
from edmf_jax.evaluation.scoring import as_stored, encode, metric_columns, score
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.images import read_image
from edmf_jax.registration.planes import reduced_shape
from edmf_jax.runtime.process import tune_allocator
from studies.save_traps import fused_luma, score_traps

SEED = 19
FILES = {"edmf": ("Source_A/bg-A-{}.jpg", "Source_B/bg-B-{}.jpg"),
         "lytro": ("lytro-{:02}-A.jpg", "lytro-{:02}-B.jpg"),
         "mfi-whu": ("source_1/{}.jpg", "source_2/{}.jpg", "full_clear/{}.jpg")}
"""Data set → its files: of A, B and, if there is one, the truth, by the pair's number."""
MOST = {"edmf": 500}
"""The largest number of a test pair, where not every pair is one."""
FUSE = "edmf-fuse"
FUSES = {FUSE: {}, "edmf-fuse-hand-made": {"weights": "none"}, "edmf-fuse-average": {"exposure": "average"}}
"""Name → the options of `edmf fuse`; the last has the exposure in the middle, as the truths have."""
SLOW = "mufusion"
METHODS = ("average", "max-sf", "max-sf-pixelwise", "guided-filter", "laplacian-pyramid", "exposure-fusion", "edmf",
           "samf", "mffgan", "sesf", "gacn", FUSE, SLOW)
PUBLISHED = ("samf", "mffgan", "sesf", "gacn", SLOW)
"""Those whose authors color or save in a way of their own."""
REFUSED = "refused"
KINDS = ("main", "published", "swapped")
_KEYS = ("pair", "method", "variant")


class Task(NamedTuple):
    """Some rows of one pair: of the methods as they are ("main"), "published" or "swapped"."""

    pair: int
    kind: str
    methods: tuple[str, ...]


def numbers_of(dataset: str, folder: Path) -> list[int]:
    """The numbers of all pairs whose files are there, in the random order."""
    numbers = [n for n in range(1, MOST.get(dataset, 999) + 1)
               if all((folder / name.format(n)).is_file() for name in FILES[dataset])]
    if not numbers:
        raise UserError(f"{folder}: holds no pairs of {dataset}, {' and '.join(FILES[dataset])}; name their folder")
    random.Random(SEED).shuffle(numbers)
    return numbers


def tasks(numbers: Sequence[int], methods: Sequence[str], published: int, swapped: int, every_slow: int) -> list[Task]:
    """What is to be done, in order: the slow method comes last, but for every so many of the pairs."""
    quick = tuple(name for name in methods if name != SLOW)
    slow = tuple(name for name in methods if name == SLOW)
    main = [Task(n, "main", (*quick, *slow) if i % every_slow == 0 else quick) for i, n in enumerate(numbers)]
    begun = max(published, swapped)
    more = [task._replace(kind="published", methods=tuple(name for name in task.methods if name in PUBLISHED))
            for task in main[:published]]
    more += [task._replace(kind="swapped", methods=tuple(name for name in task.methods if name not in FUSES))
             for task in main[:swapped]]
    rest = [Task(n, "main", slow) for i, n in enumerate(numbers) if slow and i % every_slow]
    return main[:begun] + more + main[begun:] + rest


def read_scene(dataset: str, folder: Path, number: int, exposures: str | None = None,
               longest_px: int | None = None) -> Scene:
    """A pair, and the truth if there is one; reduced to that longest side, then at the exposures of that condition."""
    images = [read_image(folder / name.format(number)) for name in FILES[dataset]]
    if longest_px:
        images = [reduced(image, longest_px) for image in images]
    if exposures:
        images = list(CONDITIONS[exposures].apply(*images))
    return Scene(str(number), *images)


def reduced(image: np.ndarray, longest_px: int) -> np.ndarray:
    """The picture with its longer side `longest_px`, every pixel the mean of the area that it covers; uint8 like it.

    A picture that is smaller stays as it is.
    """
    factor = longest_px / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = reduced_shape(image.shape, factor)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


class Rows:
    """A CSV file that rows are added to, each written at once."""

    def __init__(self, path: Path, metrics: Sequence[str]):
        """Opens the file, or begins it."""
        self._path, self._metrics = path, tuple(metrics)
        header = [*_KEYS, "cpu_s", "sha256", *metrics]
        if not path.exists():
            path.write_text(",".join(header) + "\n", encoding="utf-8")
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        if lines[0] != header:
            raise UserError(f"-o {path}: has the columns {', '.join(lines[0])}, not {', '.join(header)}; name another "
                            "file")
        if len(lines[-1]) != len(header):  # killed while it wrote
            lines.pop()
            path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
        self._known = {tuple(line[:3]) for line in lines[1:]}

    def __contains__(self, key: tuple) -> bool:
        return tuple(map(str, key)) in self._known

    def add(self, key: tuple, seconds: float, digest: str, scores: dict[str, float]) -> None:
        """Writes a row."""
        cells = [*key, f"{seconds:.2f}", digest, *(repr(float(scores[m])) if scores else "" for m in self._metrics)]
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)
        self._known.add(tuple(map(str, key)))


class Table:
    """Fuses and scores the pairs of a data set."""

    def __init__(self, rows: Rows, inner: int = 0, pictures: Path | None = None):
        """Rows are added to `rows`; with `inner` also those without so many pixels at each edge.

        Pictures as fused are written to the folder `pictures`, a work folder of `edmf report`.
        """
        self._rows, self._inner, self._pictures = rows, inner, pictures
        self._fusers: dict[tuple[str, bool], Callable[[Scene], np.ndarray]] = {}

    def do(self, task: Task, scene: Scene) -> None:
        """Writes the rows of a task that are not there yet."""
        for name in task.methods:
            if task.kind == "main":
                self._main(name, scene)
            elif task.kind == "published":
                self._one(name, "published", scene, scene)
            else:
                self._one(name, "swapped", scene, scene._replace(a=scene.b, b=scene.a))
        if task.kind == "swapped" and scene.a.ndim == 3:
            self._traps(scene)

    def _main(self, name: str, scene: Scene) -> None:
        wanted = ["default", "jpeg75"] + ["inner"] * bool(self._inner)
        picture = self._pictures and self._pictures / slug_of(name) / "fused" / f"{scene.id}.png"
        if all((scene.id, name, variant) in self._rows for variant in wanted) and (not picture or picture.exists()):
            return
        fused, seconds, digest = self._fuse(name, scene)
        if fused is None:
            for variant in wanted:
                self._add(scene.id, name, variant, seconds, REFUSED, {})
            return
        if picture:
            picture.parent.mkdir(parents=True, exist_ok=True)
            replace_file(picture, encode(fused, "png"))
        self._add(scene.id, name, "default", seconds, digest, score(scene, fused))
        data = encode(fused, "jpeg75")
        self._add(scene.id, name, "jpeg75", 0, _sha256(data), score(scene, as_stored(fused, data, "jpeg75")))
        if self._inner:
            self._add(scene.id, name, "inner", seconds, digest, score(scene, fused, rim_px=self._inner))

    def _one(self, name: str, variant: str, scene: Scene, given: Scene) -> None:
        if (scene.id, name, variant) not in self._rows:
            fused, seconds, digest = self._fuse(name, given, variant == "published")
            self._add(scene.id, name, variant, seconds, digest, score(scene, fused))

    def _traps(self, scene: Scene) -> None:
        if (scene.id, "edmf", "trap: JPEG of quality 75") not in self._rows:
            for trap, scores in score_traps(scene, fused_luma(scene.a, scene.b)):
                self._add(scene.id, "edmf", f"trap: {trap}", 0, "", scores)

    def _fuse(self, name: str, scene: Scene, published: bool = False) -> tuple[np.ndarray | None, float, str]:
        """The picture, None if refused; seconds of a core; hash of its PNG file."""
        began = time.process_time()
        try:
            fused = np.asarray(self._fuser(name, published)(scene))
        except UserError as error:
            if name not in FUSES:
                raise
            print(f"{scene.id} {name}: {error}", flush=True)
            return None, time.process_time() - began, REFUSED
        return fused, time.process_time() - began, _sha256(encode(fused, "png"))

    def _fuser(self, name: str, published: bool) -> Callable[[Scene], np.ndarray]:
        if (name, published) not in self._fusers:
            self._fusers[name, published] = (
                functools.partial(_fuse_photographs, **FUSES[name]) if name in FUSES else
                make_methods([name], ["1"], tiling="whole", as_published=published)[0].fuse)
        return self._fusers[name, published]

    def _add(self, pair: str, name: str, variant: str, seconds: float, digest: str, scores: dict) -> None:
        if (pair, name, variant) not in self._rows:
            self._rows.add((pair, name, variant), seconds, digest, scores)


def _fuse_photographs(scene: Scene, **options: str) -> np.ndarray:
    from edmf_jax.fusion.fuse import fuse

    return fuse([scene.a, scene.b], log=lambda line: None, **options)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def claimed(todo: Sequence[Task], folder: Path | None) -> Iterator[Task]:
    """The tasks that no other process took; each is taken by creating a file in the folder."""
    for number, task in enumerate(todo):
        if folder:
            try:
                os.close(os.open(folder / str(number), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
        yield task


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.table2", description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=FILES)
    parser.add_argument("folder", type=Path, help="with the data set's published files")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CSV", help="rows are added to it")
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="NAME", help="default: all that need minutes "
                        f"at most; {FUSE} is `edmf fuse`, others as for `edmf evaluate`")
    parser.add_argument("--first", type=int, metavar="N", help="the first N pairs of the random order only")
    parser.add_argument("--pairs", nargs="+", type=int, metavar="N", help="these pairs, in this order")
    parser.add_argument("--longest-px", type=int, metavar="PX", help="reduce the pictures to this longer side first")
    parser.add_argument("--pictures", type=Path, metavar="W", help="keep the fused pictures in a report's folder")
    parser.add_argument("--backward", action="store_true", help="the last pair of the order first, so that two "
                        "machines can share the work")
    parser.add_argument("--published", type=int, default=0, metavar="N", help="so many pairs also as published")
    parser.add_argument("--swapped", type=int, default=0, metavar="N", help="so many also swapped, and with the traps")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="which kinds of rows")
    parser.add_argument("--every-slow", type=int, default=1, metavar="N", help=f"{SLOW} on every Nth pair first")
    parser.add_argument("--exposures", choices=CONDITIONS, help="as for `edmf evaluate`")
    parser.add_argument("--inner", type=int, default=0, metavar="PX", help="score without the edges, too")
    parser.add_argument("--claims", type=Path, metavar="DIR", help="a folder by which several processes share the work")
    parser.add_argument("--seconds", type=float, default=np.inf, help="begin nothing after so many")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Writes the rows."""
    began, given = time.monotonic(), make_parser().parse_args(argv)
    tune_allocator()
    cv2.setNumThreads(1)  # other processes have the other cores
    numbers = numbers_of(given.dataset, given.folder)
    if given.pairs:
        absent = set(given.pairs) - set(numbers)
        if absent:
            raise UserError(f"--pairs: {given.folder} has no test pair {', '.join(map(str, sorted(absent)))}")
        numbers = given.pairs
    numbers = numbers[: given.first][:: -1 if given.backward else 1]
    truth = len(FILES[given.dataset]) == 3
    rows = Rows(given.output, [column["name"] for column in metric_columns(truth=truth, color=True)])
    table = Table(rows, given.inner, given.pictures)
    if given.claims:
        given.claims.mkdir(parents=True, exist_ok=True)
    todo = tasks(numbers, given.methods, given.published, given.swapped, given.every_slow)
    for task in claimed([task for task in todo if task.kind in given.only], given.claims):
        if time.monotonic() - began > given.seconds:
            break
        table.do(task, read_scene(given.dataset, given.folder, task.pair, given.exposures, given.longest_px))
        print(f"{time.monotonic() - began:.0f} s: {task.kind} {task.pair}, {time.process_time():.0f} s of a core",
              flush=True)


if __name__ == "__main__":
    sys.exit(main())

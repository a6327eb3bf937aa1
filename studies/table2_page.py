"""A page over the rows that `studies.table2` wrote: the folder that `edmf report` shows, with pictures of some pairs.

    python -m studies.table2_page results/table2/edmf-lossless.csv W && edmf report W --images 0
    python -m studies.table2_page results/table2/edmf-lossless.csv W --source EDMF --images 6

The first line makes a page of all scores, intervals, plots and tests.  The second one prints two commands to run next:
one fuses the six pairs again that the page will show and keeps their pictures, the other writes the page.

A method with under nine tenths of the median number of pairs is named as unfinished and has no scores there.  A pair
that a method refused has no finite score, so it is left out of the means of all methods, and the page says so.
"""

import argparse
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edmf_jax.core.exposures import CONDITIONS
from edmf_jax.data.pairs import Pairs, open_pairs
from edmf_jax.errors import UserError
from edmf_jax.evaluation.methods import slug_of
from edmf_jax.evaluation.scoring import metric_columns
from edmf_jax.reports.evaluation_data import choose_pairs, load_evaluation
from studies.table2 import FILES
from studies.table2_tables import Rows, read_rows

_FIRST = "edmf"  # the page compares the others with the first method
_DATASETS = {"edmf": "edmf/table2", "lytro": "lytro", "mfi-whu": "mfi_whu"}


def write_workdir(rows: Rows, variant: str, folder: Path, dataset: str, exposures: str | None = None,
                  pairs: Pairs | None = None) -> None:
    """Writes the work folder of an evaluation, as `edmf evaluate` leaves it.

    Args:
      rows: all that there are.
      variant: which of them are shown.
      folder: created if absent; pictures in it stay.
      dataset: a key of `studies.table2.FILES`.
      exposures: those of the rows.
      pairs: the data set, opened, if pictures are to be shown.

    Raises:
      UserError: `pairs` lacks some of the rows' pairs.
    """
    names = sorted(rows.methods(variant), key=lambda name: name != _FIRST)
    tried = {name: {pair for pair, method, kind in rows.lines if (method, kind) == (name, variant)} for name in names}
    most = np.median([len(found) for found in tried.values()])
    ids = sorted(set.intersection(*(found for found in tried.values() if len(found) > 0.9 * most)), key=int)
    columns = {column["name"]: column for column in metric_columns(truth=True, color=True)}
    record = {"dataset": _DATASETS[dataset], "split": "test", "data_bytes": 0, "gray": False, "tiling": "whole",
              "store": "jpeg75" if variant == "jpeg75" else "png", "count": len(ids), "ids": ids,
              "exposures": CONDITIONS[exposures].to_record() if exposures else None,
              "methods": [{"name": name, "slug": slug_of(name), "spec": name, "missing": []} for name in names],
              "metrics": [columns[name] for name in rows.metrics], "commands": ["python -m studies.table2"],
              "versions": {"packages": "unknown here, see beside the rows"}, **_opened(pairs, ids)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    for name in names:
        (folder / slug_of(name)).mkdir(exist_ok=True)
        scores, absent = rows.of(name, variant), [math.nan] * len(rows.metrics)
        lines = [",".join([pair, *(repr(float(score)) for score in scores.get(pair, absent))])
                 for pair in ids if pair in tried[name]]
        text = "\n".join([",".join(["id", *rows.metrics]), *lines]) + "\n"
        (folder / slug_of(name) / "scores.csv").write_text(text, encoding="utf-8")


def _opened(pairs: Pairs | None, ids: Sequence[str]) -> dict[str, Any]:
    """The fields of the record by which a report finds the data set and knows it again."""
    if pairs is None:
        return {}
    digests = dict(zip(pairs.ids, pairs.digests))
    absent = [pair for pair in ids if pair not in digests]
    if absent:
        raise UserError(f"--source: {pairs.dataset} has no pair {', '.join(absent[:5])}; leave --images and --source "
                        "out for a page without pictures")
    return {"dataset": pairs.dataset, "data_bytes": pairs.data_bytes, "digests": [digests[pair] for pair in ids]}


def picture_command(folder: Path, dataset: str, source: str, images: int, exposures: str | None = None) -> str:
    """The command that fuses the pairs again whose pictures the page in `folder` shows."""
    evaluation = load_evaluation(folder)
    shown = [pair.id for pair in choose_pairs(evaluation, images)]
    words = ["python", "-m", "studies.table2", dataset, source, "-o", str(folder / "pictures.csv"), "--pictures",
             str(folder), *(["--exposures", exposures] if exposures else []), "--methods", *evaluation.methods,
             "--pairs", *shown]
    return shlex.join(words)


def main(argv: list[str] | None = None) -> None:
    """Writes the folder and prints what to run next."""
    parser = argparse.ArgumentParser(prog="python -m studies.table2_page", description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, metavar="CSV")
    parser.add_argument("folder", type=Path, metavar="W", help="to be written")
    parser.add_argument("--dataset", choices=FILES, default="edmf", help="of the rows (default: edmf)")
    parser.add_argument("--variant", default="default", help="which rows (default: default)")
    parser.add_argument("--exposures", choices=CONDITIONS, help="those of the rows")
    parser.add_argument("--source", metavar="DIR", help="the data set's published files, for pictures")
    parser.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data")
    parser.add_argument("--images", type=int, default=0, metavar="N", help="pairs with pictures (default: 0)")
    given = parser.parse_args(argv)
    if given.images and (given.source is None or given.variant != "default"):
        raise UserError(f"--images {given.images}: needs --source, the folder of the data set, and the rows of the "
                        "variant default")
    pairs = open_pairs(_DATASETS[given.dataset], "test", source=given.source, data_dir=given.data_dir
                       ) if given.images else None
    write_workdir(read_rows([given.rows]), given.variant, given.folder, given.dataset, given.exposures, pairs)
    if given.images:
        print(picture_command(given.folder, given.dataset, given.source, given.images, given.exposures))
        where = [f"--source {shlex.quote(given.source)}"]
        where += [f"--data-dir {shlex.quote(given.data_dir)}"] if given.data_dir else []
        print(f"edmf report {shlex.quote(str(given.folder))} --images {given.images} {' '.join(where)}")
    else:
        print(f"edmf report {shlex.quote(str(given.folder))} --images 0")


if __name__ == "__main__":
    main()

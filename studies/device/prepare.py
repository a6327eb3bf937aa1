"""Fills a folder with all that a run on a machine with a GPU needs there, and says with which command it is run.

    python -m studies.device.prepare paper --source EDMF          (or: make device DEVICE="paper --source EDMF")
    python -m studies.device.prepare sweep --pack EDMF.pack --mufusion multi-focus.model
    python -m studies.device.prepare chooser --pictures SHARP --validation VALIDATION
    python -m studies.device.prepare none                                     (measurements only; no data)

There it takes JAX, Flax, Optax, Orbax, OpenCV, NumPy and SciPy, and no network: the folder has this package, the few
small packages that it imports besides, the benchmark, the references and the data.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from studies.device.run import NO_TRAINING, TRAININGS

ROOT = Path(__file__).resolve().parents[2]
MOST_MIB = 64
"""What such machines take."""
# What training, scoring and fusing import beside JAX and its kin; none of it large.
PACKAGES = ("absl-py", "filelock", "ml_collections", "platformdirs", "psutil", "PyYAML", "simplejpeg", "tifffile",
            "threadpoolctl", "tqdm")
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_COPIED = ("benchmarks", "studies/__init__.py", "studies/device", "tests/golden/filters.npz",
           "tests/golden/train_step.npz", "tests/helpers/metrics_reference.py")
_RUN = """#!/usr/bin/env bash
# Runs what was prepared here: bash run.sh -o OUT [--seconds 540]; docs/scaling.md explains it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
[ -d "$here/site" ] || "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$here/site" "$here"/whl/*.whl
[ ! -f "$here/cache.tar" ] || { mkdir -p "$here/cache" && tar -xf "$here/cache.tar" -C "$here/cache"; }
export PYTHONUNBUFFERED=1 PYTHONPATH="$here/site:$here" JAX_COMPILATION_CACHE_DIR="$here/cache"
exec "$python" -P -m studies.device.run --bundle "$here" "$@"
"""  # noqa: E501  (a line of the script)


def fill_wheels(folder: Path, python: str) -> None:
    """This package as a wheel, and those of `PACKAGES` for that version of Python."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    subprocess.run([*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python,
                    *platforms, "--dest", str(folder), *PACKAGES], check=True)


def fill_code(folder: Path) -> None:
    """Benchmark, studies of this kind and references, at their places."""
    for name in _COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def fill_pack(path: Path, args: argparse.Namespace) -> None:
    """The training pairs: a pack that is there, or a new one."""
    if args.pack:
        shutil.copy2(args.pack, path)
        return
    from edmf_jax.data.pack import write_pack
    from edmf_jax.data.tfds_reader import open_dataset

    builder = open_dataset("edmf", args.data_dir, split="train", source=args.source, allow_missing=True)
    write_pack(path, builder, "train")


def fill_data(folder: Path, args: argparse.Namespace) -> None:
    """What the training reads."""
    if args.what == NO_TRAINING:
        return
    if args.what == "chooser":
        for name in ("pictures", "validation"):
            if getattr(args, name):
                shutil.copytree(getattr(args, name), folder / name)
        return
    fill_pack(folder / "edmf.pack", args)
    if args.what == "sweep":
        shutil.copy2(args.mufusion, folder / "multi-focus.model")


def prepare(args: argparse.Namespace) -> int:
    """Fills the folder; its size in bytes.

    Raises:
      ValueError: the folder holds something else, or what was put into it is too large.
    """
    folder = args.output
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "prepared.json").is_file():
            raise ValueError(f"{folder} holds something else; name another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / "prepared.json").write_text(json.dumps({"what": args.what, "python": args.python}) + "\n")
    fill_wheels(folder / "whl", args.python)
    fill_code(folder)
    fill_data(folder, args)
    if args.cache:
        shutil.copy2(args.cache, folder / "cache.tar")
    (folder / "run.sh").write_text(_RUN)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > MOST_MIB * 2**20:
        raise ValueError(f"{folder} is {size / 2**20:.1f} MiB, and {MOST_MIB} are taken there: leave out --cache, or "
                         "give a --pack of fewer pairs (edmf data pack --split 'train[20%:]')")
    return size


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=TRAININGS, help="the training at the end of the run")
    parser.add_argument("-o", "--output", type=Path, default=Path(".device"), metavar="DIR",
                        help="the folder (default: .device, which git ignores); one of an earlier call is replaced")
    parser.add_argument("--python", default="3.12", metavar="X.Y", help="of that machine (default: 3.12)")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="of `edmf data pack` (default: a new one)")
    parser.add_argument("--source", metavar="DIR-or-ZIP", help="EDMF's files, for a new pack (also: EDMF_DIR)")
    parser.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data")
    parser.add_argument("--mufusion", type=Path, metavar="FILE", help="MUFusion's published weights, for sweep")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="sharp pictures, for chooser")
    parser.add_argument("--validation", type=Path, metavar="DIR", help="pairs with a truth, for chooser")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="cache.tar of an earlier run on such a machine")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Prepares the run."""
    parser = make_parser()
    args = parser.parse_args(argv)
    for what, needed in (("sweep", "mufusion"), ("chooser", "pictures")):
        if args.what == what and not getattr(args, needed):
            parser.error(f"{what} needs --{needed}")
    try:
        size = prepare(args)
    except ValueError as error:
        parser.error(str(error))
    print(f"{args.output}: {size / 2**20:.1f} MiB. Copy it to the machine and run there: "
          f"bash {args.output}/run.sh -o OUT")


if __name__ == "__main__":
    main()

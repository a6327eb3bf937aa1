"""The adapter of OpenFocus, with a program in its place that takes the same options."""

import stat
import sys

import numpy as np
import pytest

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.methods.openfocus import OpenFocus

PROGRAM = """#!{python}
import argparse, sys
import numpy as np
from PIL import Image
parser = argparse.ArgumentParser()
parser.add_argument("--input", nargs="+", required=True)
parser.add_argument("--output")
parser.add_argument("--method", choices=["mean", "none", "small", "gray", "broken"])
parser.add_argument("--align", choices=["none"])
parser.add_argument("--dry-run", action="store_true")
args = parser.parse_args()
images = [np.asarray(Image.open(name)).astype(int) for name in args.input]
fused = {{"mean": sum(images) // len(images), "small": images[0][1:], "gray": images[0][..., 0]}}
if args.dry_run or args.method == "none":
    print("nothing written")
elif args.method == "broken":
    sys.exit("out of ideas")
else:
    Image.fromarray(fused[args.method].astype(np.uint8)).save(args.output)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    path = tmp_path / "bin" / "openfocus"
    path.parent.mkdir()
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(path.parent))


@pytest.fixture
def images(rng):
    return list(rng.integers(0, 256, (2, 20, 24, 3), np.uint8))


def test_the_program_fuses_the_pictures_in_order(program, images):
    fuse = OpenFocus("mean")
    np.testing.assert_array_equal(fuse(images), (images[0].astype(int) + images[1]) // 2)
    gray = [image[..., 0] for image in images]
    np.testing.assert_array_equal(fuse(gray), (gray[0].astype(int) + gray[1]) // 2)
    np.testing.assert_array_equal(OpenFocus("gray")(images), np.repeat(images[0][..., :1], 3, -1))


def test_what_goes_wrong_is_said_in_its_words(program, images):
    with pytest.raises(UserError, match=r"^--method openfocus:other: the program .* code 2: .*invalid choice"):
        OpenFocus("other")
    with pytest.raises(UserError, match=r"^the program `openfocus` ended with code 1: out of ideas"):
        OpenFocus("broken")(images)
    for method in ("none", "small"):
        with pytest.raises(UserError, match=r"^the program `openfocus` wrote no 8-bit picture of the sources"):
            OpenFocus(method)(images)


def test_without_the_program_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingFileError, match=r"`openfocus` is not on the PATH; install it .* or name a folder"):
        OpenFocus("stackmffv3")

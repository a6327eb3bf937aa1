"""What `edmf methods` says of every method, and the checks that they share."""

import re

import numpy as np
import pytest

from edmf_jax.cli.main import main
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.methods import registry
from edmf_jax.methods.base import check_images


@pytest.mark.parametrize("name", registry.MODULES)
def test_every_method_says_what_it_is(name):
    module = registry.module_of(name)
    info = module.INFO
    assert info.name == name and info.title and info.verified
    assert 1980 < info.year <= 2026 or not info.paper
    assert re.fullmatch(r"(10\.\d{4,}/\S+)?", info.doi)
    assert hasattr(module, "read_weights") == bool(info.tensors)
    assert not info.tensors or (info.license and info.source)
    assert info.is_local == (info.reach_px > 0)


def test_the_list_has_every_method_and_the_way_to_those_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EDMF_METHODS_DIR", str(tmp_path))
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert [name for name in listed.splitlines() if name in registry.MODULES] == list(registry.MODULES)
    assert "`edmf import gacn FILE`" in listed.replace("\n     ", "")
    assert "MATLAB P-code" in listed and "openfocus:stackmffv3" in listed and str(tmp_path) in listed
    assert max(map(len, listed.splitlines())) <= max(100, len(f"Imported weights are in {tmp_path} ") + 50)


def test_unknown_names_are_one_line_with_the_choices():
    with pytest.raises(MissingFileError, match=r"method 'ifcn' is unknown \(did you mean ifcnn\?\).*max-sf") as caught:
        registry.module_of("ifcn")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("mdlsr", "MATLAB P-code"), ("GIFNet", "folder:DIR")])
def test_methods_of_other_programs_say_why(name, words):
    with pytest.raises(MissingFileError, match=f"method '{name}': {name} is not here: .*{words}".replace(
            "mdlsr is", "MDLSR is")):
        registry.module_of(name)


GRAY, COLOR = np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(("images", "words"), [
    ([GRAY], "toy fuses 2 pictures, but got 1"),
    ([GRAY] * 3, "toy fuses 2 pictures, but got 3"),
    ([GRAY, COLOR], r"of one shape, but got \(4, 5\) and \(4, 5, 3\); crop or align"),
    ([GRAY, GRAY.astype(float)], r"fuses uint8 pictures .* but got float64 \(4, 5\)"),
    ([COLOR[..., :2]] * 2, r"but got uint8 \(4, 5, 2\)"),
    ([GRAY.T, GRAY.T], "needs at least 5 px on both sides, but the pictures have 4×5 px"),
])
def test_pictures_that_cannot_be_fused_are_named(images, words):
    with pytest.raises(UserError, match=words):
        check_images(images, "toy", smallest_px=5)


def test_pictures_that_can_be_fused():
    check_images([COLOR, COLOR], "toy", smallest_px=4)
    check_images([GRAY] * 5, "toy", most=None)

"""Every study is a command that says how it is run, and `python -m studies` lists it."""

import importlib

import pytest

from studies.__main__ import main, studies
from tests.helpers.files import ROOT

MODULES = sorted(path.stem for path in (ROOT / "studies").glob("*.py") if not path.name.startswith("__"))


def test_all_studies_are_listed(capsys):
    main([])
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == MODULES
    assert all(studies().values())


@pytest.mark.parametrize("name", MODULES)
def test_every_study_has_a_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"studies.{name}").main(["--help"])
    assert f"usage: python -m studies.{name} " in capsys.readouterr().out


def test_a_trial_can_be_looked_at(tmp_path, capsys):
    trials = importlib.import_module("studies.registration_trials")
    trials.main([str(tmp_path), "--number", "1"])
    assert {path.name for path in tmp_path.iterdir()} == {"reference.png", "moving.png"}
    assert capsys.readouterr().out.count("[") == 4  # a 3×3 matrix
    with pytest.raises(SystemExit, match="2"):
        trials.main([str(tmp_path), "--kind", "pair"])


def test_a_rendered_pair_can_be_looked_at(tmp_path):
    importlib.import_module("studies.photograph_scenes").main([str(tmp_path), "--setting", "two stops"])
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "b", "truth-reference", "truth-average",
                                                          "truth-well-exposed"}

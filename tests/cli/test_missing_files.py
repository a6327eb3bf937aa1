"""A file that the user named and that is missing is one line; a missing file of ours is a bug, and shows as one."""

import argparse

import pytest

pytest.importorskip("tensorflow_datasets")

from edmf_jax.cli import main

GONE = "gone/nothing"
COMMANDS = [
    ("fuse", GONE + ".png", GONE + ".jpg", "-o", "OUT.png"),
    ("fuse", "--pairs", GONE, GONE, "-o", "OUT"),
    ("fuse", "--stacks", GONE, "-o", "OUT"),
    ("fuse", "FILE", "FILE", "--weights", GONE, "--preset", "paper", "-o", "OUT.png"),
    ("align", GONE + ".png", GONE + ".jpg", "-o", "OUT"),
    ("train", "--config", GONE + ".py", "--workdir", "OUT"),
    ("export", "--workdir", GONE, "-o", "OUT"),
    ("export", "--weights", GONE, "-o", "OUT"),
    ("import-mufusion", GONE, "-o", "OUT"),
    ("import", "gacn", GONE + ".pkl"),
    ("import", "mffgan", GONE),
    ("data", "build", "edmf", "--source", GONE, "--data-dir", "OUT"),
    ("data", "build", "lytro", "--source", GONE, "--data-dir", "OUT"),
    ("metrics", GONE + ".png", "FILE", "FILE"),
    ("evaluate", "--dataset", "lytro", "--source", GONE, "--data-dir", "OUT", "--method", "average", "--workdir",
     "OUT"),
    ("evaluate", "--dataset", "edmf_synthetic/tiny", "--data-dir", "DATA", "--method", GONE, "--workdir", "OUT"),
    ("evaluate", "--dataset", "edmf_synthetic/tiny", "--data-dir", "DATA", "--method", f"folder:{GONE}", "--workdir",
     "OUT"),
    ("report", GONE),
    ("experiment", "table3", "--config", GONE + ".py", "--workdir", "OUT"),
    ("demo", "--source", GONE, "--workdir", "OUT"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_missing_file_is_named_in_one_line(tmp_path, monkeypatch, capsys, data_dir, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDMF_ALLOW_MISSING", "0")
    assert main.main([str(data_dir) if word == "DATA" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert "gone" in error and error.startswith(f"edmf {words[0]}: ") and error.count("\n") == 1, error


def test_a_missing_file_of_ours_is_not_shown_as_the_users(monkeypatch):
    def broken(args):
        with open("/no/such/file/of/ours", "rb"):
            pass

    with pytest.raises(FileNotFoundError, match="/no/such/file/of/ours"):
        main._run(argparse.Namespace(command="data", run=broken), [])

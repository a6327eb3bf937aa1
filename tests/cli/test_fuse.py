"""The commands `edmf fuse` and `edmf align`: batches, messages, the former name of an option, choices kept equal."""

import cv2
import pytest

from edmf_jax.cli import fuse, main, options
from edmf_jax.fusion.stack import options as photo_options
from edmf_jax.io.images import write_image
from tests.helpers.scenes import exposed, shots


@pytest.fixture
def stacks(tmp_path):
    """Folder `in` with the stacks `one` and `two` of two aligned shots each, and `bad` of one shot."""
    for seed, (name, count) in enumerate((("one", 2), ("two", 2), ("bad", 1))):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number, shot in enumerate(shots(60, 80, seed=seed)[1 : 1 + count]):
            write_image(tmp_path / "in" / name / f"{number}.png", exposed(shot))
    return tmp_path / "in"


def run(*words):
    return main.main([str(word) for word in words])


def test_a_batch_of_stacks(stacks, tmp_path, capsys):
    command = ["fuse", "--stacks", stacks, "-o", tmp_path / "out", "--align", "none"]
    assert run(*command) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["3 stacks", str(tmp_path / "out/one.png"), str(tmp_path / "out/two.png"),
                                        "2 fused, 1 failed"]
    assert "edmf fuse: bad: two or more pictures are fused, got 1" in printed.err
    assert cv2.imread(str(tmp_path / "out/one.png")).shape == (60, 80, 3)
    assert run(*command) == 1
    assert capsys.readouterr().out.endswith("0 fused, 2 exist already (--force fuses them again), 1 failed\n")


def test_the_former_name_of_stacks_is_accepted_and_said_once(stacks, tmp_path, capsys):
    assert run("fuse", "--brackets", stacks, "-o", tmp_path / "out", "--align", "none", "--format", "webp") == 1
    printed = capsys.readouterr()
    assert printed.err.count("--brackets is now called --stacks") == 1
    assert printed.out.startswith("3 stacks\n") and (tmp_path / "out/two.webp").is_file()
    with pytest.raises(SystemExit):
        run("fuse", "--help")
    assert "--stacks" in (text := capsys.readouterr().out) and "brackets" not in text


def test_a_batch_of_pairs(stacks, tmp_path, capsys):
    command = ["fuse", "--pairs", stacks / "one", stacks / "two", "-o", tmp_path / "out", "--align", "none"]
    assert run(*command) == 0
    assert capsys.readouterr().out.splitlines() == ["2 pairs by number: 0.png + 0.png, …", str(tmp_path / "out/0.png"),
                                                    str(tmp_path / "out/1.png"), "2 fused"]


@pytest.mark.parametrize(("words", "message"), [
    (["-o", "out"], "give SHOTs, or one of --pairs and --stacks: neither is given"),
    (["a.png", "--stacks", "in", "-o", "out"], "a.png is a shot beside a batch"),
    (["a.png", "b.png", "-o", "out.png", "--format", "png"], "--format png is for a batch"),
    (["--stacks", "in", "-o", "out", "--save-map", "map.png"], "a batch writes no maps"),
])
def test_what_does_not_go_together_is_refused(words, message, capsys):
    assert run("fuse", *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_pairs_and_stacks_exclude_each_other(capsys):
    for name in ("--stacks", "--brackets"):
        with pytest.raises(SystemExit):
            run("fuse", "--pairs", "a", "b", name, "c", "-o", "out")
        assert f"argument {name}: not allowed with argument --pairs" in capsys.readouterr().err


def test_align_writes_every_shot(stacks, tmp_path, capsys):
    paths = sorted((stacks / "one").iterdir())
    assert run("align", *paths, "-o", tmp_path / "out", "--align", "none", "--format", "jpg") == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "out/0.jpg"), str(tmp_path / "out/1.jpg")]


def test_a_folder_and_a_pattern_are_the_stack_that_they_name(stacks, tmp_path, capsys):
    for number, given in enumerate(([stacks / "one"], [stacks / "one" / "*.png"], sorted((stacks / "one").iterdir()))):
        assert run("fuse", *given, "-o", tmp_path / f"{number}.png", "--align", "none") == 0
        assert run("align", *given, "-o", tmp_path / f"{number}", "--align", "none") == 0
        assert (tmp_path / f"{number}.png").read_bytes() == (tmp_path / "0.png").read_bytes()
        assert [path.name for path in sorted((tmp_path / f"{number}").iterdir())] == ["0.png", "1.png"]
    assert capsys.readouterr().err == ""


def test_choices_among_files_are_said_in_a_line_each(stacks, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    for number in range(2):
        (stacks / "one" / f"{number}.nef").write_bytes(b"")
    command = ["--align", "none", "-o"]
    assert run("fuse", stacks / "one", *command, tmp_path / "out.png") == 0
    assert run("align", stacks / "one", *command, tmp_path / "aligned") == 0
    fused, aligned = capsys.readouterr().err.splitlines()
    assert fused.removeprefix("edmf fuse: ") == aligned.removeprefix("edmf align: ")
    assert "2 shots both as .png and .nef; .png is used" in fused
    assert run("fuse", "--pairs", stacks / "one", stacks / "two", *command, tmp_path / "pairs") == 0
    assert run("fuse", "--stacks", stacks, *command, tmp_path / "stacks") == 1
    printed = capsys.readouterr()
    assert printed.err.count("2 shots both as") == 2 and "2 fused, 1 failed" in printed.out


@pytest.mark.parametrize("command", ["fuse", "align"])
def test_a_folder_of_folders_is_one_line(stacks, tmp_path, capsys, command):
    assert run(command, stacks, "-o", tmp_path / "out.png") == 2
    error = capsys.readouterr().err
    assert "in: no pictures, only the folders bad, one, two" in error and error.count("\n") == 1


def test_choices_are_those_of_the_library():
    choices = photo_options._CHOICES
    assert set(options.ALIGN) == set(choices["align"]) and set(options.MODELS) == set(choices["model"])
    assert choices["exposure"] == fuse.EXPOSURES and choices["pixels"] == fuse.PIXELS

"""The commands `edmf fuse` and `edmf align`: batches, messages, the former name of an option, choices kept equal."""

import json
import os
import shutil
import sys

import cv2
import numpy as np
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
    (["--stacks", "in", "-o", "out", "--save-alignment", "a.json"], "--save-alignment a.json: a batch writes no align"),
    (["--stacks", "in", "-o", "out", "--layers", "l"], "--layers l: a batch writes no layers; fuse the shots"),
    (["--stacks", "in", "-o", "out", "--use-masks", "m"], "--use-masks m: masks belong to one result"),
    (["a.png", "b.png", "-o", "out", "--slab", "5:2", "--save-depth", "d.png"], "--slab writes no depth maps; leave"),
    (["--stacks", "in", "-o", "out", "--slab", "5:2"], "--slab 5:2 is for one stack; name its SHOTs"),
    (["a.png", "b.png", "-o", "out", "--slab", "5:2", "--report", "p.html"], "--slab writes no reports; leave it out"),
    (["a.png", "b.png", "-o", "out", "--slab", "5:2", "--crop"], "--crop: all slabs have the reference's frame"),
    (["a.png", "b.png", "-o", "out", "--slab", "5:2", "--preset", "paper"], "--slab is for the preset photo"),
    (["a.png", "b.png", "-o", "out", "--slab", "5:5"], "slab 5:5: give SIZE:OVERLAP"),
    (["a.png", "b.png", "-o", "out.png", "--shard", "1/2"], "--shard 1/2 is for a batch, --pairs or --stacks"),
    (["--stacks", "in", "-o", "out", "--shard", "3/2"], "shard 3/2: give NUMBER/COUNT, with a number from 1 to"),
    (["--stacks", "in", "-o", "out", "--shard", "0/2"], "shard 0/2: give NUMBER/COUNT"),
    (["--stacks", "in", "-o", "out", "--shard", "1/0"], "shard 1/0: give NUMBER/COUNT"),
])
def test_what_does_not_go_together_is_refused(words, message, capsys):
    assert run("fuse", *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(("option", "value", "example"), [
    ("--shard", "3", "3/2"), ("--shard", "3:16", "3/2"), ("--shard", "-1/2", "3/2"), ("--shard", "1/2/3", "3/2"),
    ("--slab", "5/2", "3:2"), ("--slab", "5.5:2", "3:2"), ("--slab", ":", "3:2"),
])
def test_what_is_not_two_numbers_is_refused_in_a_line(option, value, example, capsys):
    with pytest.raises(SystemExit) as caught:
        run("fuse", "a.png", "b.png", "-o", "out", f"{option}={value}")
    error = capsys.readouterr().err
    assert caught.value.code == 2 and error.count("\n") == 1
    assert f"argument {option}: {value!r} is not two whole numbers like {example}" in error


def test_pairs_and_stacks_exclude_each_other(capsys):
    for name in ("--stacks", "--brackets"):
        with pytest.raises(SystemExit):
            run("fuse", "--pairs", "a", "b", name, "c", "-o", "out")
        assert f"argument {name}: not allowed with argument --pairs" in capsys.readouterr().err


def test_near_and_far_first_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        run("fuse", "a", "b", "-o", "out.png", "--near-first", "--far-first")
    assert "argument --far-first: not allowed with argument --near-first" in capsys.readouterr().err


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
    assert choices["hot_pixels"] == fuse.HOT_PIXELS and choices["moving"] == fuse.MOVING
    assert set(choices["tie"]) == {None, "near", "far"}


@pytest.fixture
def repeated(stacks):
    """Stack `two` has its first shot twice."""
    (stacks / "two" / "2.png").write_bytes((stacks / "two" / "0.png").read_bytes())
    return stacks


@pytest.fixture
def blackened(stacks):
    """Stack `two` has a third shot, a black one."""
    write_image(stacks / "two" / "2.png", np.zeros((60, 80, 3), np.uint8))
    return stacks


def test_a_copy_of_a_shot_is_not_missed(repeated, tmp_path, capsys):
    for command in (["fuse", "-o", tmp_path / "out.png"], ["align", "-o", tmp_path / "aligned"],
                    ["fuse", "--slab", "2:0", "-o", tmp_path / "slabs"]):
        assert run(command[0], repeated / "two", *command[1:], "--align", "none") == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (f"edmf {command[0]}: {repeated / 'two/2.png'}: left out, it is the same picture as "
                        f"{repeated / 'two/0.png'}")
    assert sorted(path.name for path in (tmp_path / "aligned").iterdir()) == ["0.png", "1.png"]


def test_a_run_without_a_shot_ends_with_3(blackened, tmp_path, capsys):
    for command in (["fuse", "-o", tmp_path / "out.png"], ["align", "-o", tmp_path / "aligned"],
                    ["fuse", "--slab", "2:0", "-o", tmp_path / "slabs"]):
        assert run(command[0], blackened / "two", *command[1:], "--align", "none") == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"edmf {command[0]}: {blackened / 'two/2.png'}: left out, it is black all over"


def test_a_batch_says_which_picture_lacks_a_shot(blackened, tmp_path, capsys):
    command = ["fuse", "--stacks", blackened, "-o", tmp_path / "out", "--align", "none"]
    assert run(*command) == 1  # one failed, which weighs more
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1:] == [str(tmp_path / "out/one.png"), f"{tmp_path / 'out/two.png'}: without 2.png",
                                            "2 fused, 1 of them without some shots, 1 failed"]
    assert "edmf fuse: two: " in printed.err and "2.png: left out, it is black all over" in printed.err
    (blackened / "bad" / "1.png").write_bytes((blackened / "one" / "0.png").read_bytes())
    assert run(*command, "--force") == 3
    assert capsys.readouterr().out.endswith("3 fused, 1 of them without some shots\n")


def test_shards_make_the_files_of_one_run(stacks, tmp_path, capsys):
    for name in ("x", "y"):
        shutil.copytree(stacks / "one", stacks / name)
    (stacks / "bad").rename(tmp_path / "bad")
    batch = ["fuse", "--stacks", stacks, "--align", "none", "-o"]
    assert run(*batch, tmp_path / "all") == 0
    assert capsys.readouterr().out.startswith("4 stacks\n")
    fused = []
    for number in (1, 2, 3):
        assert run(*batch, tmp_path / "shards", "--shard", f"{number}/3") == 0
        first, *lines = capsys.readouterr().out.splitlines()
        assert first == f"{2 if number == 1 else 1} stacks in shard {number}/3"
        fused += [line.rpartition("/")[2] for line in lines[:-1]]
    assert fused == ["one.png", "y.png", "two.png", "x.png"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "shards").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "all").iterdir()}
    pairs = ["fuse", "--pairs", stacks / "one", stacks / "two", "--align", "none", "-o", tmp_path / "pairs", "--shard"]
    assert run(*pairs, "2/2") == 0 and [path.name for path in (tmp_path / "pairs").iterdir()] == ["1.png"]
    assert "1 pairs in shard 2/2 by number: 1.png + 1.png, …" in capsys.readouterr().out
    assert run(*pairs, "5/9") == 0
    assert capsys.readouterr().out == "0 pairs in shard 5/9 by number\n0 fused\n"


def test_the_reference_is_named_or_numbered(stacks, tmp_path, capsys):
    one = sorted((stacks / "one").iterdir())
    command = ["--align", "none", "-o"]
    assert run("fuse", *one[::-1], *command, tmp_path / "expected.png") == 0
    for number, reference in enumerate(("2", "1.png", one[1])):
        assert run("fuse", stacks / "one", *command, tmp_path / f"{number}.png", "--reference", reference) == 0
        assert (tmp_path / f"{number}.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    assert run("fuse", stacks / "one", *command, tmp_path / "first.png") == 0
    capsys.readouterr()
    assert run("align", stacks / "one", *command, tmp_path / "aligned", "--reference", "2") == 0
    assert [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()] == ["1.png", "0.png"]
    names = f"{one[0]}, {one[1]}"
    for reference, words in (("3", f"none of the 2 shots ({names}); give a file name, or a number from 1 to 2"),
                             ("gone.png", "none of the 2 shots"), ("0", "none of the 2 shots")):
        assert run("fuse", stacks / "one", *command, tmp_path / "x.png", "--reference", reference) == 2
        error = capsys.readouterr().err
        assert f"reference {reference}: {words}" in error and error.count("\n") == 1
    assert run("fuse", one[0], stacks / "two" / "0.png", *command, tmp_path / "x.png", "--reference", "0.png") == 2
    assert "reference 0.png: 2 shots have this name; give the number of one of them" in capsys.readouterr().err


def test_slabs_are_written_and_told(stacks, tmp_path, capsys):
    shutil.copy(stacks / "two" / "0.png", stacks / "one" / "2.png")
    command = ["fuse", stacks / "one", "-o", tmp_path / "out", "--align", "none", "--slab", "2:1", "--format", "tif"]
    assert run(*command) == 0
    first, second = tmp_path / "out/slab-01.tif", tmp_path / "out/slab-02.tif"
    assert capsys.readouterr().out.splitlines() == [f"{first}: shots 1, 2", f"{second}: shots 2, 3"]
    first.unlink()
    assert run(*command) == 0
    assert capsys.readouterr().out.splitlines() == [f"{first}: shots 1, 2",
                                                    "1 exist already (--force fuses them again)"]


def test_a_batch_of_one_rig_takes_its_alignment_from_a_file(stacks, tmp_path, capsys):
    """The file says that the second shot lies 5 px to the right, and no stack is registered."""
    (stacks / "bad").rename(tmp_path / "bad")
    shots = [{"name": f"rig{n}.png", "width": 80, "height": 60, "matrix": [[1, 0, 5 * n], [0, 1, 0], [0, 0, 1]]}
             for n in (0, 1)]
    (tmp_path / "rig.json").write_text(json.dumps({"format": "edmf-alignment", "version": 1, "reference": 1,
                                                   "shots": shots}))
    rig = ["--use-alignment", tmp_path / "rig.json"]
    assert run("fuse", "--stacks", stacks, "-o", tmp_path / "out", *rig) == 0
    assert capsys.readouterr().out.endswith("2 fused\n")
    assert run("align", stacks / "two", "-o", tmp_path / "aligned", *rig) == 0
    moved, before = (cv2.imread(str(path)) for path in (tmp_path / "aligned/1.png", stacks / "two/1.png"))
    assert (moved[:, :75] == before[:, 5:]).all()
    assert run("fuse", stacks / "two", "-o", tmp_path / "x.png", "--align", "ecc", *rig) == 2
    assert "rig.json: it says how the shots lie, and --align ecc is about finding out" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf_8(stacks, tmp_path, capfdbinary):
    """As on memory cards and archives that other systems wrote: Python has their bytes as lone surrogates."""
    names = [os.fsdecode(b"M\xfcller-%d.png" % number) for number in range(2)]
    for number, name in enumerate(names):
        (stacks / "one" / f"{number}.png").rename(stacks / "one" / name)
    output, page, places, legend = (tmp_path / os.fsdecode(b"\xfc." + suffix)
                                    for suffix in (b"png", b"html", b"json", b"map.png"))
    made = ["--report", page, "--save-alignment", places, "--save-map", legend]
    assert run("fuse", stacks / "one", "-o", output, "--align", "none", "--weights", "none", *made) == 0
    assert capfdbinary.readouterr().out == os.fsencode(output) + b"\n"
    assert cv2.imdecode(np.frombuffer(output.read_bytes(), np.uint8), 1).shape == (60, 80, 3)
    assert [shot["name"] for shot in json.loads(places.read_text(encoding="utf-8"))["shots"]] == names
    assert "M\\udcfcller-0.png" in page.read_text(encoding="utf-8")
    assert b"M?ller-1.png" in legend.read_bytes()
    assert run("fuse", stacks / "one", "-o", tmp_path / "again.png", "--weights", "none",
               "--use-alignment", places) == 0

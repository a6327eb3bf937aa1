"""Alignments in files: what is written, found again, and refused."""

import dataclasses
import json
import types

import cv2
import numpy as np
import pytest

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.align import align_files
from edmf_jax.fusion.alignment_file import SavedAlignment, alignment_json, known_alignment
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.fusion.shot_files import ShotFiles, reference_first
from edmf_jax.fusion.stack.alignment import Alignment
from edmf_jax.io.images import read_image, write_image
from edmf_jax.registration import Flow, Registration, transforms
from edmf_jax.registration.planes import scaling_matrix
from tests.helpers.scenes import defocused, exposed, hand_held, scene

MATRICES = [np.eye(3), np.array([[1.01, 0.004, 3.0], [-0.004, 1.01, -2.0], [0, 0, 1]]),
            np.array([[0.99, 0, -4.0], [0, 0.99, 3.0], [0, 0, 1]])]
SIZE = (200, 260)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`s1.png` to `s4.png`: the second is of another scene, each of the others is sharp in a third."""
    folder = tmp_path_factory.mktemp("stack")
    truth = scene(*SIZE, seed=4)
    for number, (name, matrix) in enumerate(zip(("s1", "s3", "s4"), MATRICES)):
        part = defocused(truth, slice(0, 90 * number), 1.5)
        part = defocused(part, slice(90 * (number + 1), None), 1.5)
        write_image(folder / f"{name}.png", exposed(hand_held(part, matrix), 0.2 * number))
    write_image(folder / "s2.png", exposed(scene(*SIZE, seed=77)))
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """What `fuse_files` made of them with a file of their alignment: what it returned, and its results by name."""
    paths, seen = [folder / f"s{n}.png" for n in (1, 2, 3, 4)], {}

    def make_page(record, shots, progress):
        seen["result"] = record.result
        return b"page"

    fuse_files(paths, folder / "out.tif", save_alignment=folder / "a.json", save_map=folder / "map.png",
               report=folder / "page.html", make_page=make_page)
    return types.SimpleNamespace(paths=paths, result=seen["result"], record=json.loads((folder / "a.json").read_text()))


def found_by(path, names, shapes, order=None):
    return SavedAlignment(path, ShotFiles(tuple(names), tuple(order or range(len(names)))))(shapes)


def bent(frame, size=(6, 7)):
    coefficients = np.random.default_rng(5).normal(0, 1.5, (*size, 2))
    return Flow(coefficients, frame)


def made_up(matrices=MATRICES, flows=(None, None, None), names=("a.png", "b.png", "c.png"), shapes=None, left_out=None,
            copies=()):
    """The text of a file by hand; the reference is the first."""
    placed = {n: Registration(m, "pso-sift", "affine", deviation_px=0.5, confident=True, flow=flow, neighbor=0)
              for n, (m, flow) in enumerate(zip(matrices, flows))}
    placed[0] = None
    left_out = left_out or {}
    used = [n for n in range(len(names)) if n not in left_out]
    sketches = [types.SimpleNamespace(shape=(*(shapes[n] if shapes else SIZE), 3)) for n in range(len(names))]
    return alignment_json(Alignment(used, {n: placed[n] for n in used}, left_out, frozenset(copies)), sketches,
                          ShotFiles(names, tuple(range(len(names)))))


# From one run to another


def test_a_run_from_the_file_is_the_run_that_wrote_it(folder, run):
    assert list(run.result.left_out) == [1] and run.result.used == (0, 2, 3)
    assert str(folder) not in (folder / "a.json").read_text()
    found = found_by(folder / "a.json", run.paths, [(*SIZE, 3)] * 4)
    assert found.used == run.result.used and set(found.left_out) == {1}
    assert found.left_out[1].startswith("as in a.json: it can't be placed")
    for number, before in zip(run.result.used, run.result.registrations):
        again = found.registrations[number]
        assert (again is None) == (before is None)
        if before is None:
            continue
        for field in dataclasses.fields(Registration):
            if field.name not in ("points", "targets", "flow"):
                np.testing.assert_array_equal(getattr(again, field.name), getattr(before, field.name), field.name)
    fuse_files(run.paths, folder / "again.tif", use_alignment=folder / "a.json", save_map=folder / "map2.png",
               save_alignment=folder / "a2.json")
    assert (folder / "again.tif").read_bytes() == (folder / "out.tif").read_bytes()
    assert (folder / "map2.png").read_bytes() == (folder / "map.png").read_bytes()
    text = (folder / "a2.json").read_text()
    assert json.loads(text)["shots"][2:] == run.record["shots"][2:]


def test_a_copy_is_not_missed_in_another_run_either(tmp_path):
    text = made_up(left_out={2: "it is the same picture as b.png"}, copies={2})
    (tmp_path / "a.json").write_text(text)
    found = found_by(tmp_path / "a.json", ["a.png", "b.png", "c.png"], [(*SIZE, 3)] * 3)
    assert set(found.left_out) == {2} and found.copies == {2}
    assert [shot.get("is_copy") for shot in json.loads(made_up(left_out={2: "it is black"}))["shots"]][2] is False


def test_the_map_names_the_shots_that_were_used(folder, run):
    legend = (folder / "map.png").read_bytes().partition(b"iTXt")[2][:200]
    assert b"s1.png" in legend and b"s2.png" not in legend and b"1 #d55e00 s3.png" in legend and b"s4.png" in legend


def test_align_and_fuse_write_the_same_file(folder, run, tmp_path):
    written = [path.name for path, _ in align_files(run.paths, tmp_path, save_alignment=tmp_path / "b.json")]
    assert written == ["s1.png", "s3.png", "s4.png"]
    assert (tmp_path / "b.json").read_bytes() == (folder / "a.json").read_bytes()
    again = tmp_path / "again"
    assert len(list(align_files(run.paths, again, use_alignment=tmp_path / "b.json"))) == 3
    for name in written:
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_another_export_at_half_the_size(folder, run, tmp_path):
    halves = []
    for path in run.paths:
        halves.append(tmp_path / f"{path.stem}.jpg")
        write_image(halves[-1], cv2.resize(read_image(path), (SIZE[1] // 2, SIZE[0] // 2),
                                           interpolation=cv2.INTER_AREA))
    found = found_by(folder / "a.json", halves, [(SIZE[0] // 2, SIZE[1] // 2, 3)] * 4)
    to_half = scaling_matrix(SIZE, (100, 130))
    for number, matrix in zip((2, 3), MATRICES[1:]):
        expected = to_half @ matrix @ np.linalg.inv(to_half)
        assert transforms.corner_errors(found.registrations[number].matrix, expected, (100, 130)).max() < 0.5
    fused = fuse_files(halves, tmp_path / "out.png", use_alignment=folder / "a.json")
    whole = cv2.resize(read_image(folder / "out.tif"), (130, 100), interpolation=cv2.INTER_AREA)
    assert np.abs(fused.astype(int) - whole).mean() < 4


def test_other_names_are_taken_in_their_order(folder, run):
    names = ["w.tif", "x.tif", "y.tif", "z.tif"]
    found = found_by(folder / "a.json", names, [(*SIZE, 3)] * 4)
    assert found.used == (0, 2, 3) and set(found.left_out) == {1}
    # The fourth as reference: the order is still the user's.
    moved = reference_first(4, 3)
    found = found_by(folder / "a.json", [names[n] for n in moved], [(*SIZE, 3)] * 4, moved)
    assert found.used == (0, 1, 3) and found.registrations[0] is None
    expected = np.linalg.inv(MATRICES[2])  # of the first shot, from the fourth
    assert transforms.corner_errors(found.registrations[1].matrix, expected, SIZE).max() < 1


def test_shots_are_found_by_name_in_any_order_and_some_may_be_missing(folder, run):
    found = found_by(folder / "a.json", ["s4.jpg", "s1.jpg"], [(*SIZE, 3)] * 2)
    assert found.used == (0, 1) and found.registrations[0] is None
    assert transforms.corner_errors(found.registrations[1].matrix, np.linalg.inv(MATRICES[2]), SIZE).max() < 1


# Maps by hand


def test_a_flow_comes_back_in_its_own_frame(tmp_path):
    bend = bent(SIZE)
    (tmp_path / "a.json").write_text(made_up(flows=(None, bend, None)))
    found = found_by(tmp_path / "a.json", ("a.png", "b.png", "c.png"), [(*SIZE, 3)] * 3).registrations
    np.testing.assert_array_equal(found[1].flow.coefficients, bend.coefficients)
    assert found[1].flow.shape == SIZE and found[2].flow is None
    half = found_by(tmp_path / "a.json", ("a.png", "b.png", "c.png"), [(100, 130, 3), (400, 520, 3), (*SIZE, 3)])
    points = np.array([[10.0, 20], [120, 70], [60, 90]])
    # A point of the small reference is at 2x + 0.5 of the large one, and the shot is twice as large.
    large = 2 * points + 0.5
    np.testing.assert_allclose(half.registrations[1].flow.at(points), 2 * bend.at(large), atol=1e-9)
    np.testing.assert_allclose(transforms.project(half.registrations[1].matrix, points),
                               2 * transforms.project(MATRICES[1], large) + 0.5, atol=1e-9)


def test_a_flow_is_carried_over_to_another_frame(tmp_path):
    """Each shot to each other: the flows of both ends add up to where the file puts them."""
    smooth = [Flow(np.full((6, 7, 2), value) + np.arange(7)[None, :, None] * 0.2, SIZE) for value in (1.0, -2.0)]
    flows = (None, *smooth)
    (tmp_path / "a.json").write_text(made_up(flows=flows))
    names = ("c.png", "a.png", "b.png")
    found = found_by(tmp_path / "a.json", names, [(*SIZE, 3)] * 3).registrations
    scene_points = np.stack(np.meshgrid(np.linspace(30, 220, 5), np.linspace(30, 170, 4)), -1).reshape(-1, 2)
    seen = [transforms.project(matrix, scene_points) + (0 if one is None else one.at(scene_points))
            for matrix, one in zip(MATRICES, flows)]
    for number, target in ((1, seen[0]), (2, seen[1])):
        one = found[number]
        there = transforms.project(one.matrix, seen[2]) + one.flow.at(seen[2])
        np.testing.assert_allclose(there, target, atol=0.02)
        assert np.abs(transforms.project(one.matrix, seen[2]) - target).max() > 0.5  # not by the matrix alone


def test_shots_in_the_same_frame_need_no_map(tmp_path):
    (tmp_path / "a.json").write_text(made_up([np.eye(3)] * 3))
    found = found_by(tmp_path / "a.json", ("a.png", "b.png", "c.png"), [(*SIZE, 3)] * 3)
    assert list(found.registrations.values()) == [None] * 3


def test_a_file_of_another_program_needs_names_sizes_and_matrices_only(tmp_path):
    shots = [{"name": name, "width": 260, "height": 200, "matrix": matrix.tolist()}
             for name, matrix in zip("abc", MATRICES)]
    (tmp_path / "a.json").write_text(json.dumps({"format": "edmf-alignment", "version": 1, "reference": 1,
                                                 "shots": shots}))
    found = found_by(tmp_path / "a.json", ("b.png", "a.png"), [(*SIZE, 3)] * 2)
    np.testing.assert_allclose(found.registrations[1].matrix, np.linalg.inv(MATRICES[1]) / np.linalg.inv(
        MATRICES[1])[2, 2], atol=1e-12)
    assert found.registrations[1].confident and found.registrations[1].neighbor is None


def test_a_map_that_was_uncertain_is_told_again(folder, run, tmp_path):
    record = json.loads((folder / "a.json").read_text())
    record["shots"][3].update(confident=False, doubts="few matches")
    (tmp_path / "b.json").write_text(json.dumps(record))
    lines = []
    fuse_files(run.paths, tmp_path / "out.png", use_alignment=tmp_path / "b.json", log=lines.append)
    assert f"{run.paths[3]}: its place was uncertain when it was registered (few matches)" in lines


def test_two_shots_that_became_one_picture_are_told(folder, run, tmp_path):
    """The same rig, whose first shot is left out by the file: its twin is not."""
    for name, source in zip("wxyz", (1, 1, 3, 4)):
        (tmp_path / f"{name}.png").write_bytes((folder / f"s{source}.png").read_bytes())
    record = json.loads((folder / "a.json").read_text())
    shots = record["shots"]
    record["shots"] = [shots[1], shots[0], *shots[2:]]
    (tmp_path / "b.json").write_text(json.dumps(record | {"reference": 2}))
    gone = []
    fused = fuse_files([tmp_path / f"{name}.png" for name in "wxyz"], tmp_path / "out.png",
                       use_alignment=tmp_path / "b.json", left_out=lambda name, reason: gone.append(name))
    assert gone == [str(tmp_path / "w.png")]
    np.testing.assert_array_equal(fused, read_image(folder / "out.tif"))


# What is refused, in a line each


def refused(path, words, names=("a.png", "b.png", "c.png"), shapes=((*SIZE, 3),) * 3, error=UserError):
    with pytest.raises(error) as caught:
        found_by(path, names, shapes[: len(names)])
    assert words in str(caught.value) and path.name in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "words"), [
    (lambda r: r["shots"][1].update(matrix=[[1, 0], [0, 1]]), "the matrix of b.png"),
    (lambda r: r["shots"][1].update(matrix=[[0] * 3] * 3), "the matrix of b.png"),
    (lambda r: r["shots"][1].update(matrix=[[1, 0, 10**400], [0, 1, 0], [0, 0, 1]]), "damaged"),
    (lambda r: r["shots"][1].pop("matrix"), "damaged alignment file (KeyError: 'matrix')"),
    (lambda r: r["shots"][1].update(width=0), "the size of b.png"),
    (lambda r: r["shots"][1].update(width=None), "damaged"),
    (lambda r: r["shots"][1].update(flow={"coefficients": [[[1, 2]]]}), "the flow of b.png"),
    (lambda r: r["shots"][0].update(matrix=MATRICES[1].tolist()), "the reference is not in its own frame"),
    (lambda r: r.update(shots=[]), "damaged"),
    (lambda r: r.update(shots="abc"), "damaged"),
    (lambda r: r.update(reference=9), "damaged"),
    (lambda r: r.update(reference=0), "damaged"),
    (lambda r: r.update(version=7), "an alignment of version 7, and this program reads 1; write it anew"),
    (lambda r: r.update(format="hugin"), 'it has no "format": "edmf-alignment"'),
])
def test_damaged_files(tmp_path, change, words):
    record = json.loads(made_up())
    change(record)
    (tmp_path / "bad.json").write_text(json.dumps(record))
    refused(tmp_path / "bad.json", words)


def test_files_that_are_something_else(tmp_path):
    refused(tmp_path / "gone.json", "no such file; write one with --save-alignment", error=MissingFileError)
    for content in (made_up().encode()[:200], b"\xff\xd8\xff\xe0", b"", b"[" * 100_000):
        (tmp_path / "bad.json").write_bytes(content)
        refused(tmp_path / "bad.json", "not a readable alignment file")
    (tmp_path / "bad.json").write_text("[1, 2]")
    refused(tmp_path / "bad.json", "not an alignment file")
    refused(tmp_path, "not a readable alignment file")


def test_shots_that_do_not_fit_the_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(made_up(left_out={2: "it can't be placed"}))
    refused(path, "d.png: the alignment", names=("a.png", "b.png", "d.png"))
    refused(path, "its 3 shots have other names than these 2", names=("x.png", "y.png"))
    refused(path, "b.png: 200×260 px, but 260×200 px", shapes=((*SIZE, 3), (260, 200, 3), (*SIZE, 3)))
    refused(path, "it places 1 of these shots, and two are needed", names=("a.png", "c.png"))
    path.write_text(made_up([np.eye(3), np.array([[1, 0, 900], [0, 1, 0], [0, 0, 1]]), MATRICES[2]]))
    refused(path, "it places b.png outside of the frame of a.png")


def test_two_shots_of_one_name_are_taken_in_order(tmp_path):
    (tmp_path / "a.json").write_text(made_up(names=("x/1.png", "y/1.png", "z/1.png")))
    found = found_by(tmp_path / "a.json", ("x/2.png", "y/2.png", "z/2.png"), [(*SIZE, 3)] * 3)
    np.testing.assert_allclose(found.registrations[2].matrix, MATRICES[2], atol=1e-12)
    refused(tmp_path / "a.json", "its 3 shots have other names than these 2", names=("x/1.png", "y/1.png"))


def test_options_that_would_not_be_used_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(made_up())
    shots = ShotFiles(("a.png", "b.png"), (0, 1))
    assert known_alignment(None, shots, "paper", align="ecc") is None
    with pytest.raises(UserError, match="it says how the shots lie, and --align ecc is about finding out"):
        known_alignment(tmp_path / "a.json", shots, align="ecc", model=None)
    with pytest.raises(UserError, match="the preset 'paper' registers nothing; leave out --use-alignment"):
        known_alignment(tmp_path / "a.json", shots, "paper")

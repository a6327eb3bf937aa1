"""The study of stacks: scores, tables, resumption, and the programs around it."""

import argparse
import json
import shutil
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

from edmf_jax.registration.transforms import project
from studies import openfocus_maps, stack_programs, stack_truth, stacks
from studies.stack_truth import Truth, score

NOTHING_MOVED = np.eye(3).tolist()


def make_truth(count=4, parallax=False, **changes):
    """Shots that all have one view; `changes`: name → what is wrong with it."""
    slope = np.zeros((3, 3))
    slope[0, 2] = 1000.0 * parallax
    shots = {f"s{i}": {"name": f"s{i}", "width": 120, "height": 90, "change": changes.get(f"s{i}", ""), "twins": [],
                       "focus": 0.01, "fixed": NOTHING_MOVED, "slope": (i * slope).tolist()} for i in range(count)}
    return Truth(shots, np.full((90, 120), 0.01, np.float32), 1000.0)


def make_found(reference="s0", left_out=(), **shifts):
    """An alignment: name → (x, y) by which the shot is shifted."""
    shots = [{"name": name, "width": 120, "height": 90, "matrix": [[1, 0, x], [0, 1, y], [0, 0, 1]]}
             for name, (x, y) in shifts.items()]
    return {"reference": reference, "shots": shots, "left_out": [{"name": n, "reason": "doubt"} for n in left_out]}


def test_errors_are_measured_from_the_first_shot_whatever_the_reference_is():
    # The program's reference is s1; from s0, s1 is off by 1 px and s2 by 5.
    found = make_found("s1", s0=(-1, 0), s1=(0, 0), s2=(4, 0), left_out=["s3"])
    first, second, third, fourth = score(make_truth(), found)
    assert "corners" not in first and first["base"] and not first["wrong"]
    np.testing.assert_allclose(second["corners"], 1)
    np.testing.assert_allclose(third["corners"], 5)
    assert (second["wrong"], third["wrong"]) == (False, True)
    assert second["content"] == pytest.approx(1) and third["content"] == pytest.approx(5)
    assert fourth["needed"] and not fourth["placed"] and fourth["reason"] == "doubt"


def test_with_parallax_a_map_is_wrong_only_if_what_is_in_focus_is():
    flow = {"coefficients": [[[-9.0, 0.0]] * 4] * 4}
    found = make_found(s0=(0, 0), s1=(19, 0))
    assert score(make_truth(2, parallax=True), found)[1]["wrong"]  # right would be 10
    found["shots"][1]["flow"] = flow
    bent = score(make_truth(2, parallax=True), found)[1]
    assert bent["content"] == pytest.approx(0) and not bent["wrong"]


def test_a_wrong_shot_that_is_placed_is_wrong_and_need_not_be_placed():
    truth = make_truth(s2="wrong")
    placed = score(truth, make_found(s0=(0, 0), s1=(0, 0), s2=(0, 0), s3=(0, 0)))
    assert [result["wrong"] for result in placed] == [False, False, True, False]
    left = score(truth, make_found(s0=(0, 0), s1=(0, 0), s3=(0, 0), left_out=["s2"]))
    assert not any(result["wrong"] for result in left) and not left[2]["needed"]


def test_of_twins_one_is_enough():
    truth = make_truth(4)
    truth.shots["s1"]["twins"], truth.shots["s3"]["twins"] = ["s3"], ["s1"]
    needed = lambda **placed: [r["name"] for r in score(truth, make_found(**placed)) if r["needed"] and not r["placed"]]
    assert needed(s0=(0, 0), s1=(0, 0)) == ["s2"]
    assert needed(s0=(0, 0), s3=(0, 0)) == ["s2"]
    assert needed(s0=(0, 0)) == ["s1", "s2"]


def make_result(program, errors, *, failed="", seconds=2.0, missing=0, wrong=0):
    shots = [{"needed": True, "placed": True, "wrong": i < wrong, "corners": [e] * 4, "content": e,
              "seen": [e / 2] * 4, "content_within": float(e <= 1)}
             for i, e in enumerate(errors)]
    shots += [{"needed": True, "placed": False, "wrong": False}] * missing
    return {"setting": "tripod", "program": program, "seconds": seconds, "peak_mb": 50.0, "failed": failed,
            "shots": shots}


def test_the_table_counts_shots_that_are_missing_as_outside():
    results = [make_result("edmf", [0.1, 0.3, 9.0], missing=1, wrong=1), make_result("edmf", [0.2], seconds=4.0),
               make_result("hugin", [], failed="no", missing=2)]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in stacks.rendered_table(results).splitlines()]
    ours, hugin, *both = (dict(zip(rows[0], row)) for row in rows[2:])
    assert ours["median px"] == "0.25" and ours["95 % px"] == "9.00" and ours["corners within 1 px"] == "60.0 %"
    assert ours["as seen"] == "60.0 %" and ours["content within 1 px"] == "75.0 %" and ours["content px"] == "0.25"
    assert (ours["stacks"], ours["shots"], ours["failed"]) == ("2", "5", "0")
    assert (ours["left out in error"], ours["placed and wrong"]) == ("1", "1")
    assert (ours["s/stack"], ours["MB"]) == ("3.00", "50")
    assert (hugin["failed"], hugin["left out in error"], hugin["median px"]) == ("1", "2", "")
    assert hugin["corners within 1 px"] == "0.0 %"
    assert [row["setting"] for row in both] == ["all", "all"]
    assert "| > 9999 |" in stacks.rendered_table([make_result("hugin", [1e12])])


def test_a_stopped_study_goes_on_and_takes_another_program(tmp_path):
    ran, log = [], tmp_path / "kept.jsonl"

    def plan(number):
        def run(missing):
            for program in missing:
                ran.append((number, program))
                yield {"program": program, "seconds": len(ran)}
        return {"setting": "tripod", "number": number, "seed": 0, "size": [9, 9]}, run

    first = stacks.run_missing(map(plan, (0, 1)), ["hugin"], log)
    log.write_text(log.read_text()[:-5])  # killed while the last line was written
    again = stacks.run_missing(map(plan, (0, 1)), ["hugin", "edmf"], log)
    assert ran == [(0, "hugin"), (1, "hugin"), (0, "edmf"), (1, "hugin"), (1, "edmf")]
    assert again[0] == first[0] and [r["program"] for r in again] == ["hugin", "edmf"] * 2


def test_a_rendered_stack_goes_through_a_program_and_its_score(tmp_path, monkeypatch, capsys):
    def perfect(paths, folder, options):
        truth = json.loads((paths[0].parent / "truth.json").read_text())["shots"]
        return stack_programs.Outcome(1.5, 7.0, {"reference": truth[0]["name"], "shots": truth, "left_out": []})

    monkeypatch.setitem(stack_programs.PROGRAMS, "hugin", perfect)
    log = tmp_path / "log.jsonl"
    stacks.main(["--stacks", "1", "--settings", "tripod", "--size", "72", "96", "--shots", "3", "--programs", "hugin",
                 "--json", str(log)])
    row = capsys.readouterr().out.splitlines()[2]
    assert "| tripod | hugin | 1 | 3 | 0 | 0.00 | 0.00 |" in row and "100.0 %" in row
    assert len(log.read_text().splitlines()) == 1


def test_real_stacks_have_a_table_of_seconds_and_left_out_shots(tmp_path, monkeypatch, capsys):
    found = {"reference": "a.png", "shots": [], "left_out": [{"name": "b.png", "reason": "another scene"}]}
    monkeypatch.setitem(stack_programs.PROGRAMS, "edmf",
                        lambda paths, *_: stack_programs.Outcome(0.25 * len(paths), 90.0, found))
    for name in ("a.png", "b.png", "notes.txt"):
        (tmp_path / name).touch()
    stacks.main(["--folders", str(tmp_path), "--programs", "edmf"])
    assert "| edmf | 2 |  | b.png: another scene | 0.50 | 90 |" in capsys.readouterr().out


def test_a_child_is_measured_and_its_failure_told():
    outcome = stack_programs.run_child([sys.executable, "-S", "-c", "x = bytearray(60_000_000)"])
    assert outcome.found == {} and outcome.peak_mb > 57 and outcome.seconds > 0
    small = stack_programs.run_child([sys.executable, "-S", "-c", ""])
    assert small.peak_mb < 40
    failed = stack_programs.run_child([sys.executable, "-S", "-c", "print('so'); print('why'); raise SystemExit(3)"])
    assert failed.found is None and failed.failure == "so; why"
    late = stack_programs.run_child([sys.executable, "-S", "-c", "import time; time.sleep(60)"], seconds=0.5)
    assert late.found is None and "0.5 s" in late.failure


@pytest.mark.parametrize("code", [0, 1])
def test_ours_is_read_from_the_file_even_if_a_shot_was_left_out(tmp_path, monkeypatch, code):
    wanted = make_found(s0=(0, 0), left_out=["s1"])
    written = {"reference": 1, "shots": [*wanted["shots"], {"name": "s1", "left_out": "doubt"}]}

    def stub(argv):
        Path(argv[argv.index("--save-alignment") + 1]).write_text(json.dumps(written))
        return code

    monkeypatch.setattr(stack_programs, "edmf", stub)
    outcome = stack_programs.run_ours([tmp_path / "s0", tmp_path / "s1"], tmp_path, argparse.Namespace())
    assert outcome.found == wanted and outcome.failure == ""


def test_ours_failing_is_told_by_its_last_line(tmp_path, monkeypatch):
    def stub(argv):
        print("edmf: error: no map")
        return 2

    monkeypatch.setattr(stack_programs, "edmf", stub)
    outcome = stack_programs.run_ours([tmp_path / "s0", tmp_path / "s1"], tmp_path, argparse.Namespace())
    assert outcome.found is None and outcome.failure == "edmf: error: no map"


@pytest.mark.skipif(not shutil.which("pano_trafo"), reason="needs pano_trafo, of hugin-tools")
def test_hugins_maps_are_read_from_its_project(tmp_path):
    picture = ("i w500 h333 f0 v{v} Ra0 Rb0 Rc0 Rd0 Re0 Eev0 Er1 Eb1 r{r} p0 y0 TrX0 TrY0 TrZ0 Tpy0 Tpp0 j0 a0 b0 c0 "
               'd0 e0 g0 t0 Va1 Vb0 Vc0 Vd0 Vx0 Vy0 Vm5 n"{n}"\n')
    project_file = tmp_path / "stack.pto"
    project_file.write_text('p f0 w500 h333 v50 k0 E0 R0 n"TIFF_m c:LZW"\nm i0\n\n'
                            + picture.format(v=50, r=0, n="/x/b.jpg") + picture.format(v=25, r=90, n="a.jpg"))
    found = stack_programs.hugin_maps(project_file, [tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")])
    assert found["reference"] == "b.jpg" and found["left_out"] == [{"name": "c.jpg", "reason": "not in the project"}]
    np.testing.assert_allclose(found["shots"][0]["matrix"], np.eye(3), atol=1e-4)
    zoom = np.tan(np.radians(25)) / np.tan(np.radians(12.5))  # half the field of view
    middle = np.array([[249.5, 166.0], [259.5, 166.0]])
    there = project(np.array(found["shots"][1]["matrix"]), middle)
    np.testing.assert_allclose(there[0], middle[0], atol=0.01)
    np.testing.assert_allclose(np.abs(there[1] - there[0]), [0, 10 * zoom], atol=0.01)


def test_openfocus_is_watched_while_it_warps(tmp_path, monkeypatch, rng):
    """Its homographies map to a cropped frame; its own aligner leaves the first shot as it is."""
    to_frame = {"a.png": np.array([[1.0, 0, -4], [0, 1, -3], [0, 0, 1]]),
                "b.png": np.array([[1.0, 0, -9], [0, 1, -1], [0, 0, 1]])}

    class Stub:
        def __init__(self, method):
            self.method = method

        def process(self, images):
            matrices = list(to_frame.values())
            if self.method == "homography":
                return [cv2.warpPerspective(image, m, (20, 20)) for image, m in zip(images, matrices)]
            return [images[0], cv2.warpAffine(images[1], matrices[1][:2], (20, 20))]

    monkeypatch.setitem(sys.modules, "core", types.SimpleNamespace(registration=types.SimpleNamespace(
        ImageRegistration=Stub)))
    paths = [str(tmp_path / name) for name in to_frame]
    for path in paths:
        cv2.imwrite(path, rng.integers(0, 256, (30, 40, 3), np.uint8))
    warps = cv2.warpPerspective, cv2.warpAffine
    for method, shift in (("homography", [5, -2]), ("openfocus", [9, 1])):
        first, second = openfocus_maps.find_maps(method, paths)["shots"]
        np.testing.assert_allclose(first["matrix"], np.eye(3))
        np.testing.assert_allclose(np.array(second["matrix"])[:2, 2], shift)
    assert (cv2.warpPerspective, cv2.warpAffine) == warps


def test_an_alignment_can_be_scored_from_files(tmp_path, capsys):
    truth = make_truth(2)
    (tmp_path / "truth.json").write_text(json.dumps({"blur_px": 1.0, "shots": list(truth.shots.values())}))
    np.save(tmp_path / "vergence.npy", truth.vergence)
    (tmp_path / "found.json").write_text(json.dumps(make_found(s0=(0, 0), s1=(0, 2))))
    stack_truth.main([str(tmp_path), str(tmp_path / "found.json")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(lines[1]["corners"], 2)

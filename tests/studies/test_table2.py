"""The study that fills Table 2: its order, its rows, and going on after it was stopped; the tables of such rows."""

import csv
import hashlib
import itertools
import shlex
import shutil
import types

import cv2
import numpy as np
import pytest

from edmf_jax.cli.main import main as edmf
from edmf_jax.errors import UserError
from edmf_jax.evaluation.scoring import metric_columns
from edmf_jax.reports import evaluation_page
from studies import save_traps, table2, table2_page, table2_tables
from tests.helpers.reports import FakePairs, pairs_of

CHEAP = ["average", "max-sf-pixelwise"]


@pytest.fixture(autouse=True)
def quick_scores(monkeypatch):
    """Scores that need no compile: the mean level in every column."""
    names = [column["name"] for column in metric_columns(truth=True, color=True)]
    monkeypatch.setattr(table2, "score", lambda scene, fused, rim_px=0: dict.fromkeys(
        names, float(fused[rim_px : len(fused) - rim_px].mean())))
    monkeypatch.setattr(table2, "score_traps", lambda scene, luma: (
        (name, dict.fromkeys(names, 0.0)) for name in save_traps.TRAPS))
    monkeypatch.setattr(table2, "tune_allocator", lambda: None)


@pytest.fixture
def folder(tmp_path, rng):
    """Three pairs of EDMF and of MFI-WHU, as published."""
    for dataset, number in itertools.product(("edmf", "mfi-whu"), (1, 2, 7)):
        sharp = rng.integers(60, 180, (72, 80, 3), np.uint8)
        pictures = [sharp.copy(), sharp.copy(), sharp]
        blurred = cv2.blur(sharp, (5, 5))
        pictures[0][:, :40], pictures[1][:, 40:] = blurred[:, :40], blurred[:, 40:]
        for name, picture in zip(table2.FILES[dataset], pictures):
            path = tmp_path / dataset / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture, (cv2.IMWRITE_JPEG_QUALITY, 95))
    return tmp_path


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(folder, dataset="edmf", *options, methods=CHEAP, output="rows.csv"):
    table2.main([dataset, str(folder / dataset), "-o", str(folder / output), "--methods", *methods, *options])
    return read(folder / output)


def test_order_is_random_and_always_the_same(folder):
    assert sorted(table2.numbers_of("edmf", folder / "edmf")) == [1, 2, 7]
    assert table2.numbers_of("edmf", folder / "edmf") == table2.numbers_of("edmf", folder / "edmf")
    (folder / "edmf" / "Source_B" / "bg-B-2.jpg").unlink()
    assert sorted(table2.numbers_of("edmf", folder / "edmf")) == [1, 7]
    with pytest.raises(UserError, match="holds no pairs of lytro, lytro-"):
        table2.numbers_of("lytro", folder / "edmf")


def test_the_slow_method_comes_last_and_every_row_once():
    names = ["average", "mffgan", "mufusion", "edmf-fuse"]
    todo = table2.tasks([5, 3, 8, 1], names, published=2, swapped=1, every_slow=2)
    assert todo[:2] == [(5, "main", ("average", "mffgan", "edmf-fuse", "mufusion")),
                        (3, "main", ("average", "mffgan", "edmf-fuse"))]
    assert todo[2:5] == [(5, "published", ("mffgan", "mufusion")), (3, "published", ("mffgan",)),
                         (5, "swapped", ("average", "mffgan", "mufusion"))]
    main = [(task.pair, name) for task in todo if task.kind == "main" for name in task.methods]
    assert sorted(main) == sorted(itertools.product([1, 3, 5, 8], names))
    assert [task.pair for task in todo if task.methods == ("mufusion",)] == [3, 1]


def test_rows_of_every_pair(folder):
    rows = run(folder)
    assert sorted((r["pair"], r["method"], r["variant"]) for r in rows) == sorted(
        itertools.product("127", CHEAP, ("default", "jpeg75")))
    scene = table2.read_scene("edmf", folder / "edmf", 7)
    row = next(r for r in rows if (r["pair"], r["method"], r["variant"]) == ("7", "average", "default"))
    assert float(row["PSNR"]) == pytest.approx(np.mean([scene.a, scene.b]), abs=0.5)
    assert len({r["sha256"] for r in rows}) == len(rows)


def test_a_stopped_run_goes_on(folder, monkeypatch):
    whole = run(folder)
    path = folder / "rows.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:40], encoding="utf-8")  # killed within the fifth row
    fused = []
    make = table2.make_methods
    monkeypatch.setattr(table2, "make_methods", lambda names, *a, **k: fused.append(names) or make(names, *a, **k))
    keys = [[r["pair"], r["method"], r["variant"], r["sha256"]] for r in whole]
    assert [[r["pair"], r["method"], r["variant"], r["sha256"]] for r in run(folder)] == keys
    run(folder)
    assert fused == [["average"], ["max-sf-pixelwise"]]  # once each: the last run had nothing to do


def test_several_share_the_pairs(folder):
    claims = ("--claims", str(folder / "claims"))
    (folder / "claims").mkdir()
    (folder / "claims" / "1").touch()  # another process has the second pair
    rows = run(folder, "edmf", *claims)
    second = str(table2.numbers_of("edmf", folder / "edmf")[1])
    assert {r["pair"] for r in rows} == {"1", "2", "7"} - {second}
    assert not run(folder, "edmf", *claims, output="other.csv")


def test_swapped_and_traps(folder, monkeypatch):
    monkeypatch.setattr(table2, "fused_luma", lambda a, b: a.astype(float).mean(-1))
    rows = run(folder, "edmf", "--swapped", "1", methods=["average"])
    first = str(table2.numbers_of("edmf", folder / "edmf")[0])
    assert [r["variant"] for r in rows if r["pair"] == first] == [
        "default", "jpeg75", "swapped", *(f"trap: {name}" for name in save_traps.TRAPS)]
    assert run(folder, "edmf", "--swapped", "1", "--only", "swapped", methods=["average"], output="b.csv") == [
        r for r in rows if r["variant"] not in ("default", "jpeg75")]
    default, _, swapped, *_ = (r["sha256"] for r in rows if r["pair"] == first)
    assert default == swapped  # a mean does not know which comes first


def test_truth_exposures_and_edges(folder):
    options = ("--exposures", "half-stop-gamma", "--inner", "20", "--first", "1")
    rows = run(folder, "mfi-whu", *options, methods=["average"])
    assert [r["variant"] for r in rows] == ["default", "jpeg75", "inner"]
    default, _, inner = rows
    assert default["sha256"] == inner["sha256"] and float(default["PSNR_truth"]) != float(inner["PSNR_truth"])
    plain = run(folder, "mfi-whu", "--first", "1", methods=["average"], output="plain.csv")
    assert plain[0]["sha256"] != default["sha256"]


def test_reduced_pairs_of_ones_choice(folder):
    run(folder, "edmf", "--longest-px", "40", "--pairs", "7", "1", "--pictures", str(folder / "w"), methods=["average"])
    rows = read(folder / "rows.csv")
    assert [r["pair"] for r in rows] == ["7", "7", "1", "1"]
    scene = table2.read_scene("edmf", folder / "edmf", 7)
    halves = [x.reshape(36, 2, 40, 2, 3).mean((1, 3)) for x in (scene.a, scene.b)]  # 72×80 px to 36×40
    picture = folder / "w" / "average" / "fused" / "7.png"
    fused = cv2.imread(str(picture))[..., ::-1]
    assert fused.shape == (36, 40, 3) and np.abs(fused - np.mean(halves, 0)).max() < 1.5
    assert hashlib.sha256(picture.read_bytes()).hexdigest() == rows[0]["sha256"]
    with pytest.raises(UserError, match=r"--pairs: .* has no test pair 3, 9$"):
        run(folder, "edmf", "--pairs", "9", "1", "3")


def test_reducing_takes_means_and_leaves_small_pictures(rng):
    picture = rng.integers(0, 256, (96, 128), np.uint8)
    assert table2.reduced(picture, 128) is picture and table2.reduced(picture, 1000) is picture
    small = table2.reduced(picture, 32)
    assert small.shape == (24, 32)
    np.testing.assert_allclose(small, picture.reshape(24, 4, 32, 4).mean((1, 3)), atol=0.5 + 1e-6)
    assert table2.reduced(np.full((484, 646, 3), 9, np.uint8), 64).shape == (48, 64, 3)


def test_pictures_are_made_for_rows_that_are_there(folder):
    before = run(folder, methods=["average"])
    picture = folder / "w" / "average" / "fused" / "1.png"
    assert run(folder, "edmf", "--pictures", str(folder / "w"), methods=["average"]) == before
    assert picture.is_file() and table2.slug_of("openfocus:stackmffv3") == "openfocus-stackmffv3"


def test_refusals_are_rows_without_scores(folder, monkeypatch):
    def refuse(scene):
        raise UserError("cannot be registered")

    monkeypatch.setattr(table2, "_fuse_photographs", refuse)
    rows = run(folder, "edmf", "--first", "1", methods=["edmf-fuse"])
    assert [(r["sha256"], r["PSNR"]) for r in rows] == [("refused", "")] * 2


def test_another_tables_file_is_not_added_to(folder):
    run(folder, "edmf", "--first", "1")
    with pytest.raises(UserError, match=r"rows.csv: has the columns pair, .* name another file"):
        run(folder, "mfi-whu", "--first", "1")


@pytest.fixture
def rows(tmp_path):
    """Eleven pairs: a scores 1 to 11, its reference two more; c has only two pairs; one pair was refused."""
    path = tmp_path / "rows.csv"
    names = [column["name"] for column in metric_columns(truth=False, color=True)]
    lines = [["pair", "method", "variant", "cpu_s", "sha256", *names]]
    for n in range(1, 12):
        for method, more in (("a", 0), ("laplacian-pyramid", 2), *([("c", 7)] if n in (1, 4) else [])):
            lines.append([n, method, "default", 1, f"hash of {method} {n}", *[n + more] * len(names)])
            lines.append([n, method, "jpeg75", 0, "", *[n + more - 0.25] * len(names)])
    lines.append([12, "a", "default", 1, "refused", *[""] * len(names)])
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path


def test_means_and_estimates(rows, capsys):
    table2_tables.main([str(rows)])
    *_, a, laplacian, c = capsys.readouterr().out.splitlines()
    assert a.startswith("| a | 11 | 6.000 ± 1.") and laplacian.startswith("| laplacian-pyramid | 11 | 8.000 ± ")
    assert c.startswith("| c | 2 | 13.000 ± 0.000 | ")  # its own mean of two pairs would be 9.5


def test_estimates_from_known_means(rows, capsys):
    table2_tables.main([str(rows), "--known"])
    *_, a, laplacian, c = capsys.readouterr().out.splitlines()
    assert a.startswith("| a | 11 | 5.544 ± 0.000 | ")  # two below 7.544, on every pair
    assert laplacian.startswith("| laplacian-pyramid | 500 | 7.544 | 5.791 | ")
    assert c.startswith("| c | 2 | 12.544 ± 0.000 | ")


def test_traps_among_the_rows(rows, capsys):
    lines = [f'3,edmf,"trap: {name}",0,,{",".join(["1.5" if name == save_traps.HONEST else "1.25"] * 8)}\n'
             for name in save_traps.TRAPS]
    with rows.open("a", encoding="utf-8") as file:
        file.writelines(lines)
    table2_tables.main([str(rows), "--traps"])
    shown = capsys.readouterr().out
    assert shown.startswith("1 pairs") and f"| {save_traps.HONEST} | 1.500 | " in shown
    assert shown.count("−0.250 ± 0.000") == 8 * (len(save_traps.TRAPS) - 1)
    table2_tables.main([str(rows), "--write", str(rows.parent / "edmf")])
    assert len((rows.parent / "edmf-traps.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(save_traps.TRAPS)


def test_differences(rows, capsys):
    table2_tables.main([str(rows), "--variant", "jpeg75", "--from", "default"])
    assert capsys.readouterr().out.count("−0.250 ± 0.000") == 3 * 8


def test_beside_the_paper(rows, capsys):
    rows.write_text(rows.read_text(encoding="utf-8").replace(",a,", ",edmf,"), encoding="utf-8")
    table2_tables.main([str(rows), "--paper"])
    shown = capsys.readouterr().out
    assert "| … the paper | 500 | 7.567 | " in shown and "| … difference |  | −20.7 % | " in shown
    assert "| −62.72 dB |" in shown


def test_files_for_results_give_the_same_table(rows, tmp_path, capsys):
    table2_tables.main([str(rows)])
    shown = capsys.readouterr().out
    table2_tables.main([str(rows), "--write", str(tmp_path / "edmf")])
    assert sorted(path.name for path in tmp_path.glob("edmf-*")) == ["edmf-jpeg75.csv", "edmf-lossless.csv"]
    table2_tables.main([str(tmp_path / "edmf-lossless.csv")])
    assert capsys.readouterr().out == shown


def test_the_first_of_two_files_counts(rows, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(rows.read_text(encoding="utf-8").replace("hash of", "other").replace("\n1,a,", "\n13,a,"),
                     encoding="utf-8")
    lines = table2_tables.read_rows([rows, other]).lines
    assert lines["1", "a", "default"]["sha256"] == "hash of a 1"
    assert lines["13", "a", "default"]["sha256"] == "other a 1"


def test_page_of_such_rows(rows, tmp_path, capsys):
    table2_page.main([str(rows), str(tmp_path / "w")])
    assert capsys.readouterr().out == f"edmf report {tmp_path / 'w'} --images 0\n"
    assert edmf(["report", str(tmp_path / "w"), "--images", "0"]) == 0
    page = (tmp_path / "w" / "report.html").read_text(encoding="utf-8")
    assert "laplacian-pyramid" in page and "11 pairs of edmf/table2" in page
    assert "Not in the tables, because pairs are still to be scored: c." in page


def test_page_says_which_pairs_were_refused(rows, tmp_path):
    text = rows.read_text(encoding="utf-8")
    names = len(text.splitlines()[0].split(",")) - 5
    rows.write_text(text + "12,laplacian-pyramid,default,1,hash," + ",".join(["1"] * names) + "\n", encoding="utf-8")
    table2_page.main([str(rows), str(tmp_path / "w")])
    edmf(["report", str(tmp_path / "w"), "--images", "0"])
    page = (tmp_path / "w" / "report.html").read_text(encoding="utf-8")
    assert "12 pairs of edmf/table2" in page and "1 of 12 pairs (12)" in page


def test_page_with_pictures(folder, monkeypatch, capsys):
    """Scores without pictures, then the printed command, then a page with the pictures of the two chosen pairs."""
    rows = run(folder)
    shutil.copytree(folder / "edmf", folder / "published")
    ids, w = ["1", "2", "7"], folder / "w"
    scenes = {number: table2.read_scene("edmf", folder / "published", int(number)) for number in ids}
    pairs = types.SimpleNamespace(dataset="edmf/table2", ids=ids, digests=["a", "b", "c"], data_bytes=1)
    monkeypatch.setattr(table2_page, "open_pairs", lambda *args, **options: pairs)
    monkeypatch.setattr(evaluation_page, "open_source_pairs", lambda *args, **options: FakePairs(scenes))
    capsys.readouterr()
    table2_page.main([str(folder / "rows.csv"), str(w), "--source", str(folder / "published"), "--images", "2"])
    again, report = capsys.readouterr().out.splitlines()
    table2.main(shlex.split(again.removeprefix("python -m studies.table2 ")))
    assert edmf(shlex.split(report)[1:]) == 0
    shown = pairs_of((w / "report.html").read_text(encoding="utf-8"))
    assert len(shown) == 2 and all(set(pair["layers"]) >= {"m0", "m1"} and not pair["absent"] for pair in shown)
    kept = {(r["pair"], r["method"]): r["sha256"] for r in read(w / "pictures.csv") if r["variant"] == "default"}
    assert kept == {(r["pair"], r["method"]): r["sha256"] for r in rows
                    if r["variant"] == "default" and r["pair"] in {pair["id"] for pair in shown}}


def test_page_refuses_what_it_cannot_show(rows, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--images 3: needs --source"):
        table2_page.main([str(rows), str(tmp_path / "w"), "--images", "3"])
    pairs = types.SimpleNamespace(dataset="edmf/table2", ids=["1"], digests=["a"], data_bytes=1)
    monkeypatch.setattr(table2_page, "open_pairs", lambda *args, **options: pairs)
    with pytest.raises(UserError, match="--source: edmf/table2 has no pair 2, 3, 4, 5, 6; leave --images"):
        table2_page.main([str(rows), str(tmp_path / "w"), "--images", "3", "--source", "EDMF"])

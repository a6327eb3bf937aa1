"""`edmf evaluate --benchmark`: three conditions, a table, resumption, and what is refused; on a made-up MFI-WHU."""

import csv
import json
import os
import re

import cv2
import numpy as np
import pytest

from tests.helpers.evaluations import command, compile_lightly, quiet  # noqa: F401  (a fixture)
from tests.helpers.reports import decoded, pairs_of

pytest.importorskip("tensorflow_datasets")

from edmf_jax.cli import main
from edmf_jax.core.exposures import CONDITIONS, TRUTHS
from edmf_jax.data.pairs import open_pairs
from edmf_jax.errors import UserError
from edmf_jax.evaluation.benchmark import BENCHMARKS, SHOWN, Benchmark, run_benchmark
from edmf_jax.evaluation.evaluate import evaluate
from edmf_jax.io.images import read_image
from edmf_jax.methods.average import average
from edmf_jax.metrics import evaluate_to_truth, rgb_to_gray
from edmf_jax.reports.evaluation_page import write_report
from edmf_jax.runtime.lock import exclusive

NAME = "mfi-whu-exposure"
PAIRS = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Options for a made-up copy of MFI-WHU: its files (`source`), and where TFDS prepares them (`data_dir`)."""
    root = tmp_path_factory.mktemp("whu")
    rng = np.random.default_rng(20261122)
    for number in range(1, PAIRS + 1):
        sharp = cv2.resize(rng.integers(0, 256, (20, 24, 3), np.uint8), (72, 60), interpolation=cv2.INTER_NEAREST)
        soft, left = cv2.GaussianBlur(sharp, (0, 0), 3), np.arange(72)[None, :, None] < 36
        pictures = {"full_clear": sharp, "source_1": np.where(left, sharp, soft),
                    "source_2": np.where(left, soft, sharp)}
        for folder, picture in pictures.items():
            (root / "copy" / folder).mkdir(parents=True, exist_ok=True)
            (root / "copy" / folder / f"{number}.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    return {"source": str(root / "copy"), "data_dir": str(root / "tfds"), "allow_missing": True}


@pytest.fixture(scope="module")
def run(place):
    def run(workdir, *methods, log=quiet, **options):
        return run_benchmark(NAME, methods, workdir, log=log, metrics=("SSIM", "Qabf"), **place, **options)

    return run


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A finished benchmark's folder and table; only read."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder, "average", "max-sf-pixelwise")


def rows(folder, condition, method):
    with open(folder / condition / method / "scores.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.suffix in (".csv", ".md", ".tex", ".png", ".json")}


def test_each_condition_is_scored_against_its_own_truth(whole, place):
    folder, _ = whole
    published = open_pairs("mfi_whu", "test", log=quiet, **place)
    for name, condition in CONDITIONS.items():
        record = json.loads((folder / name / "evaluation.json").read_text(encoding="utf-8"))
        assert record["exposures"] == condition.to_record() and record["ids"] == ["1", "2"]
        assert f" --dataset mfi_whu --allow-missing --exposures {name} " in re.sub(
            r"--(source|data-dir) \S+ |--metrics SSIM Qabf ", "", record["commands"][0])
        for stored, row in zip(published.records(), rows(folder, name, "average"), strict=True):
            scene = published.decode(stored)
            a, b, truth = condition.apply(scene.a, scene.b, scene.truth)
            fused = average(a, b)
            np.testing.assert_array_equal(read_image(folder / name / "average" / "fused" / f"{scene.id}.png"), fused)
            expected = evaluate_to_truth(fused, truth)
            assert float(row["PSNR_truth"]) == pytest.approx(expected["PSNR"], rel=1e-6)
            assert float(row["ΔE2000_truth"]) == pytest.approx(expected["ΔE2000"], rel=1e-6)


def test_the_table_has_every_condition_and_method(whole):
    folder, table = whole
    assert table.header == ("Condition: method", "PSNR_truth ↑", "SSIM_truth ↑", "ΔE2000_truth ↓")
    assert [row[0].text for row in table.rows] == [f"{condition}: {method}" for condition in CONDITIONS
                                                   for method in ("average", "max-sf-pixelwise")]
    # Every condition has a best of its own.
    assert [{row[1].rank for row in table.rows[i : i + 2]} for i in (0, 2, 4)] == [{0, 1}] * 3
    psnr = np.mean([float(row["PSNR_truth"]) for row in rows(folder, "quarter-stop", "average")])
    assert table.rows[2][1].text == f"{psnr:.3f}"
    record = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert record["benchmark"] == NAME and [c["condition"] for c in record["conditions"]] == list(CONDITIONS)
    second = record["conditions"][1]
    assert second["exposures"]["stops"] == [0.25, -0.25] and second["pairs"] == dict.fromkeys(SHOWN, PAIRS)
    assert second["methods"][0]["name"] == "average"
    assert second["methods"][0]["scores"]["PSNR_truth"]["mean"] == pytest.approx(psnr)
    page = (folder / "summary.md").read_text(encoding="utf-8")
    assert "| quarter-stop: average | " in page and "A +0.5 stops, gamma 0.9; B −0.5 stops, gamma 1.1, a truth" in page
    assert "exposures “quarter-stop”: A +0.25" in (folder / "quarter-stop" / "summary.md").read_text(encoding="utf-8")


def test_stopped_in_the_middle_it_goes_on_and_ends_the_same(whole, run, tmp_path, monkeypatch):
    finished, _ = whole
    work, calls = tmp_path / "w", []

    def fuse(a, b):
        calls.append(a.shape)
        if len(calls) == PAIRS + 1:
            raise UserError("power cut")
        return average(a, b)

    monkeypatch.setattr("edmf_jax.methods.average.average", fuse)
    with pytest.raises(UserError, match="power cut"):
        run(work, "average", "max-sf-pixelwise")
    assert (work / "published" / "summary.md").is_file() and not (work / "half-stop-gamma").exists()
    assert not (work / "summary.md").exists()
    run(work, "average", "max-sf-pixelwise")
    assert len(calls) == 3 * PAIRS + 1
    before, after = contents(finished), contents(work)
    same = [name for name in before if not name.endswith("evaluation.json")]  # they name the work folder
    assert before.keys() == after.keys() and {n: before[n] for n in same} == {n: after[n] for n in same}
    run(work, "average", "max-sf-pixelwise")
    assert len(calls) == 3 * PAIRS + 1 and contents(work) == after


def test_pairs_rim_and_the_exposure_of_the_truth_are_the_benchmarks(place, tmp_path, monkeypatch):
    small = Benchmark("mfi_whu", ("quarter-stop",), "test[1:2]", rim_px=2, truth_at="reference")
    monkeypatch.setitem(BENCHMARKS, NAME, small)
    table = run_benchmark(NAME, ["average"], tmp_path, log=quiet, metrics=("SSIM",), **place)
    published = open_pairs("mfi_whu", "test[1:2]", log=quiet, **place)
    (scene,) = (published.decode(record) for record in published.records())
    a, b, truth = CONDITIONS["quarter-stop"].apply(scene.a, scene.b, scene.truth, "reference")
    (row,) = rows(tmp_path, "quarter-stop", "average")
    assert row["id"] == "2"
    expected = evaluate_to_truth(average(a, b)[2:-2, 2:-2].copy(), truth[2:-2, 2:-2].copy())
    assert float(row["PSNR_truth"]) == pytest.approx(expected["PSNR"], rel=1e-6)
    assert "compared with the truth at the exposure of A" in table.note
    record = json.loads((tmp_path / "quarter-stop" / "evaluation.json").read_text(encoding="utf-8"))
    assert "--split 'test[1:2]'" in record["commands"][0]
    assert "--truth-at reference --rim-px 2" in record["commands"][0]
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "a truth at the exposure of A" in page and "2 px at each edge are not scored" in page
    with pytest.raises(UserError, match=r"truth_at=\"reference\" there, null here; rim_px=2 there, null here"):
        evaluate("mfi_whu", ["average"], tmp_path / "quarter-stop", split="test[1:2]", exposures="quarter-stop",
                 metrics=("SSIM",), log=quiet, **place)


def test_the_benchmarks_take_the_pairs_that_their_names_say():
    def numbers(name):
        parts = re.findall(r"test\[(\d+):(\d+)\]", BENCHMARKS[name].split)
        return [number for first, last in parts for number in range(int(first) + 1, int(last) + 1)]

    assert numbers("mfi-whu-inner") == numbers("mfi-whu-whole") == list(range(61, 81))
    assert numbers("mfi-whu-others") == [number for number in range(1, 61) if number % 10 not in (3, 5)]


def test_conditions_can_not_be_mixed(whole, run, place, tmp_path):
    folder, _ = whole
    options = {"metrics": ("SSIM", "Qabf"), "log": quiet, **place}
    with pytest.raises(UserError, match=r'exposures={"name": "quarter-stop", .* there, null here\); choose') as caught:
        evaluate("mfi_whu", ["average"], folder / "quarter-stop", **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r'"quarter-stop", .* there, {"name": "published", .* here'):
        evaluate("mfi_whu", ["average"], folder / "quarter-stop", exposures="published", **options)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(UserError, match=rf"holds the evaluation of one data set; choose another .* --benchmark {NAME}"):
        run(tmp_path, "average")
    assert not (tmp_path / "published").exists()


def test_gray_pictures_are_exposed_before_they_turn_gray_and_have_no_color_difference(run, place, tmp_path):
    table = run(tmp_path, "average", limit=1, gray=True)
    assert table.header == ("Condition: method", "PSNR_truth ↑", "SSIM_truth ↑")
    condition = CONDITIONS["quarter-stop"]
    color, gray = (open_pairs("mfi_whu", "test", exposures=condition, gray=gray, log=quiet, **place)
                   for gray in (False, True))
    in_color, in_gray = color.decode(next(color.records())), gray.decode(next(gray.records()))
    assert in_gray.a.ndim == 2
    np.testing.assert_array_equal(in_gray.truth, rgb_to_gray(in_color.truth))


def test_a_second_process_is_told_and_a_foreign_summary_is_kept(tmp_path, capsys):
    words = ["evaluate", "--benchmark", NAME, "--method", "average", "--workdir", str(tmp_path)]
    with exclusive(tmp_path):
        assert main.main(words) == 2
    error = capsys.readouterr().err
    assert f"--workdir={tmp_path} is in use by process {os.getpid()} on " in error and error.count("\n") == 1
    (tmp_path / "summary.md").write_text("mine")
    assert main.main(words) == 2
    assert "summary.md is already there, of no benchmark in this folder" in capsys.readouterr().err
    assert (tmp_path / "summary.md").read_text() == "mine"


def test_the_report_of_a_condition_shows_its_exposures(whole, place, tmp_path):
    folder, _ = whole
    path = write_report(folder / "half-stop-gamma", tmp_path / "report.html", images=1, log=quiet)
    page = path.read_text(encoding="utf-8")
    (pair,) = pairs_of(page)
    published = open_pairs("mfi_whu", "test", log=quiet, **place)
    scene = next(published.decode(r) for r in published.records() if r.id == pair["id"])
    exposed = CONDITIONS["half-stop-gamma"].apply(scene.a, scene.b, scene.truth)
    for layer, picture in zip(("a", "b", "truth"), exposed, strict=True):
        assert decoded(pair["layers"][layer][0]).mean() == pytest.approx(picture.mean(), abs=1)
    assert "A +0.5 stops, gamma 0.9; B −0.5 stops" in page
    with pytest.raises(UserError, match=r"no evaluation\.json in it; .* of a benchmark one of its sub-folders"):
        write_report(folder, log=quiet)


@pytest.mark.parametrize(("words", "message"), [
    (["--benchmark", "nonesuch"], f"--benchmark=nonesuch is unknown; use one of {NAME}"),
    (["--benchmark", NAME, "--dataset", "edmf"], "to say what is evaluated: --dataset edmf and --bench"),
    ([], "give either --dataset or --benchmark, to say what is evaluated: neither is given"),
    (["--benchmark", NAME, "--exposures", "published"], f"published: --benchmark {NAME} sets the exposures itself"),
    (["--benchmark", NAME, "--rim-px", 4], f"--rim-px 4: --benchmark {NAME} sets the rim itself; leave --rim-px"),
    (["--benchmark", NAME, "--split", "test"], f"--split test: --benchmark {NAME} sets the pairs itself"),
    (["--dataset", "mfi_whu", "--rim-px", -1], "--rim-px=-1: must not be negative"),
    (["--benchmark", NAME, "--pattern-a", "x{id}"], "the files of mfi_whu have fixed names"),
    (["--benchmark", NAME, "--tiling", "whole", "--source", "nowhere-at-all"], "nowhere-at-all"),
])
def test_mistakes_are_one_line_and_code_2(tmp_path, capsys, words, message):
    arguments = ["--method", "average", "--workdir", str(tmp_path / "w"), "--data-dir", str(tmp_path / "data")]
    assert main.main(["evaluate", *map(str, words), *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.startswith("edmf evaluate: ") and error.count("\n") == 1
    assert not (tmp_path / "w").exists()


def test_the_command_prints_the_table_and_its_help_names_what_there_is(place, whole, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main.main(["evaluate", "--help"])
    told = "".join(capsys.readouterr().out.split())  # lines may end at a hyphen
    assert all(name in told for name in (*CONDITIONS, *TRUTHS, *BENCHMARKS))
    command("evaluate", "--benchmark", NAME, "--source", place["source"], "--data-dir", place["data_dir"],
            "--allow-missing", "--metrics", "SSIM", "--method", "average", "--limit", 1, "--workdir", tmp_path)
    out = capsys.readouterr().out
    assert "quarter-stop (2 of 3): A +0.25 stops" in out and "| half-stop-gamma: average | " in out
    assert out.rstrip().splitlines()[-5].startswith("| Condition: method | PSNR")

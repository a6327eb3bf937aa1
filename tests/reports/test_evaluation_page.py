"""The page of an evaluation: its contents, its size, and what is refused."""

import json
import re

import numpy as np
import pytest
from markupsafe import escape

from edmf_jax.cli import main
from edmf_jax.errors import UserError
from edmf_jax.io.images import write_image
from edmf_jax.reports import evaluation_page
from edmf_jax.reports.evaluation_page import write_report
from edmf_jax.reports.evaluation_pictures import DIFFERENCE_GAIN, focus_mask
from edmf_jax.reports.picture_layers import DETAIL_LEVELS
from tests.helpers.reports import METRICS, FakePairs, data_of, decoded, make_evaluation, make_scene, pairs_of, quiet

NASTY = "<b>\"&'ü</script><!--"


@pytest.fixture
def scenes():
    return {str(i): make_scene(str(i), 60, 84) for i in range(1, 15)}


@pytest.fixture
def make_page(tmp_path, scenes, monkeypatch):
    """Makes an evaluation and its report from scenes in memory; returns the page's text."""
    def make(methods=("first", "second"), pairs=scenes, options=None, edit=None, **fields):
        folder = tmp_path / "w"
        record = make_evaluation(folder, list(methods), pairs, **fields)
        if edit:
            (folder / "evaluation.json").write_text(json.dumps(record | edit), encoding="utf-8")
        monkeypatch.setattr(evaluation_page, "open_source_pairs", lambda *_, **__: FakePairs(pairs))
        return write_report(folder, force=True, log=quiet, **(options or {})).read_text(encoding="utf-8")

    return make


def test_the_page_has_scores_pictures_and_settings(make_page, scenes):
    page = make_page(options={"images": 4})
    low, high = (np.mean([0.5 + 0.1 * k + 0.01 * ((7 * i + 3 * k * i) % 11) for i in range(14)]) for k in range(2))
    table = page.split("</table>")[0]  # SSIM is the first column; of the last one less is better
    assert f'<td class="best" data-value="{high}"><strong>{high:.3f}</strong>' in table
    assert f'<td class="second" data-value="{high}"><u>{high:.3f}</u>' in table
    assert f'<td class="second" data-value="{low}"><u>{low:.3f}</u>' in table
    data, pairs = data_of(page), pairs_of(page)
    assert data["methods"] == ["first", "second"] and data["ids"] == list(scenes)
    assert data["scores"][0][1][2] == pytest.approx(0.5 + 0.1 + 0.01 * ((14 + 6) % 11), rel=1e-5)
    assert {(t["first"], t["second"]) for t in data["tests"]} == {(0, 1)} and len(data["tests"]) == len(METRICS)
    assert len(pairs) == 4 and pairs[0]["width"] == 84 and set(pairs[0]["layers"]) == {"a", "b", "mask", "m0", "m1",
                                                                                       "d0", "d1"}
    for words in ("14 pairs of image_pairs/made-0, split test", "python 3.11.0", "edmf evaluate --dataset image_pairs"):
        assert words in page


def test_the_same_evaluation_gives_the_same_page(make_page):
    assert make_page(options={"images": 3}) == make_page(options={"images": 3})


def test_layers_are_the_pictures(make_page, scenes):
    pair = pairs_of(make_page(options={"images": 14}))[2]
    scene = scenes[pair["id"]]
    height, width = scene.a.shape[:2]
    shown = {key: decoded(parts[0]) for key, parts in pair["layers"].items()}
    assert {picture.shape for picture in shown.values()} == {(height, width, 3)}
    # Mean gray levels survive the codec, and tell the layers from each other.
    assert shown["a"][:, : width // 2].std() > 3 * shown["a"][:, width // 2 + 4 :].std()
    assert shown["b"][:, width // 2 + 4 :].std() > 3 * shown["b"][:, : width // 2 - 4].std()
    assert shown["m1"].mean() - shown["m0"].mean() == pytest.approx(10, abs=1)
    assert shown["d1"].mean() == pytest.approx(10 * DIFFERENCE_GAIN, abs=3)
    assert shown["d0"].mean() < 0.5 * DIFFERENCE_GAIN + 1
    np.testing.assert_array_equal(shown["mask"][..., 0], focus_mask(scene.a, scene.b))
    assert shown["mask"][:, 5].min() == 255 and shown["mask"][:, -5].max() == 0


def test_names_are_escaped_wherever_they_stand(make_page):
    pairs = {name: make_scene(name, 60, 84) for name in ("a&b", "c'd", "é")}
    page = make_page(methods=[NASTY, "{{data}}"], pairs=pairs, options={"images": 2})
    assert "<b>" not in page and str(escape(NASTY)) in page
    assert page.count("</script>") == 2 + 2  # data, two pairs, the script
    assert data_of(page)["methods"] == [NASTY, "{{data}}"] and data_of(page)["ids"] == list(pairs)
    assert {pair["id"] for pair in pairs_of(page)} < set(pairs)


def test_undefined_and_infinite_scores(make_page):
    def values(method, pair, metric):
        if metric == "PSNR":
            return np.inf if pair else -np.inf
        return np.nan if metric == "Qabf" and pair == 3 else 0.5 + 0.01 * pair + method

    page = make_page(values=values, options={"images": 3})
    scores = data_of(page)["scores"]
    assert scores[1][0][3] is None and scores[2][0][:2] == ["-inf", "inf"]
    assert data_of(page)["pairs"] == [14, 13, 0, 14]
    assert "13 of 14 pairs" in page and "0 of 14 pairs" in page and '<td data-value="">–</td>' in page
    assert "Left out of Qabf" in page and "No pair has a finite value" in page
    assert "NaN" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_a_single_method_and_a_single_pair(make_page):
    pairs = {"1": make_scene("1", 60, 84, color=False)}
    page = make_page(methods=["only"], pairs=pairs)
    assert data_of(page)["tests"] == [] and "<u>" not in page.split("</table>")[0]
    assert [pair["why"] for pair in pairs_of(page)] == ["One of the worst of only in SSIM."]


def test_without_pictures_the_data_set_is_not_needed(tmp_path, scenes, monkeypatch):
    make_evaluation(tmp_path / "w", ["m"], scenes, pictures=False)
    monkeypatch.setattr(evaluation_page, "open_source_pairs", pytest.fail)
    page = write_report(tmp_path / "w", tmp_path / "page.html", images=0, log=quiet).read_text(encoding="utf-8")
    assert pairs_of(page) == [] and not (tmp_path / "w" / "report.html").exists()


def test_fused_pictures_that_are_gone_or_of_another_size_are_shown_as_absent(make_page, tmp_path, scenes):
    make_page(options={"images": 0})
    (tmp_path / "w" / "method-0" / "fused" / "3.png").unlink()
    write_image(tmp_path / "w" / "method-1" / "fused" / "4.png", scenes["4"].a[1:])
    lines = []
    page = write_report(tmp_path / "w", images=14, force=True, log=lines.append).read_text(encoding="utf-8")
    pairs = {pair["id"]: pair for pair in pairs_of(page)}
    assert pairs["3"]["absent"] == {"m0": "no picture file"} and "m0" not in pairs["3"]["layers"]
    assert pairs["4"]["absent"] == {"m1": "picture of another size"} and "d1" not in pairs["4"]["layers"]
    assert "first 3, second 4" in page and any("first 3, second 4" in line for line in lines)


def test_unfinished_methods_are_named_and_an_evaluation_being_written_is_left_alone(make_page, tmp_path):
    make_page(options={"images": 0})
    scores = tmp_path / "w" / "method-1" / "scores.csv"
    torn = scores.read_bytes()[:-5]
    scores.write_bytes(torn)
    page = write_report(tmp_path / "w", images=2, force=True, log=quiet).read_text(encoding="utf-8")
    assert data_of(page)["methods"] == ["first"] and "pairs are still to be scored: second" in page
    assert scores.read_bytes() == torn
    (tmp_path / "w" / "method-0" / "scores.csv").unlink()
    with pytest.raises(UserError, match="no method has scores of all 14 pairs yet; finish it first: edmf evaluate"):
        write_report(tmp_path / "w", force=True, log=quiet)
    assert not (tmp_path / "w" / "method-0" / "scores.csv").exists()


@pytest.mark.parametrize("limit", [400_000, 150_000])
def test_the_budget_lowers_quality_and_is_kept(make_page, limit):
    pairs = {str(i): make_scene(str(i), 300, 420) for i in range(4)}
    page = make_page(pairs=pairs, options={"limit_bytes": limit, "images": 4})
    assert len(page.encode()) <= limit and len(pairs_of(page)) == 4
    assert all(pair["quality"] < DETAIL_LEVELS[0].quality for pair in pairs_of(page))
    # Noise is the hardest case there is; the budget is still made use of.
    assert len(page.encode()) > 0.5 * limit


def test_pairs_that_no_quality_makes_small_enough_are_named(make_page):
    page = make_page(options={"limit_bytes": 90_000, "images": 14})
    left = [pair["id"] for pair in pairs_of(page)]
    assert len(left) < 14 and len(page.encode()) <= 90_000
    assert "Pictures of these pairs would have made the page too large" in page


@pytest.mark.parametrize(("make", "options", "words"), [
    (None, (), "no evaluation.json in it; name the --workdir of an `edmf evaluate`"),
    ("{", (), "is damaged"),
    ("[]", (), "not written by `edmf evaluate`, it has no dataset"),
    ({}, ("--images", "-1"), "--images=-1: how many pairs are shown, 0 or more"),
    ({}, ("--images", "0", "-o", "nowhere/x.html"), "the folder nowhere does not exist"),
    ({"dataset": "edmff"}, (), "can't be opened: name='edmff' is no data set of ours"),
])
def test_mistakes_are_one_line_and_code_2(tmp_path, scenes, capsys, make, options, words):
    if isinstance(make, dict):
        make_evaluation(tmp_path, ["m"], scenes, pictures=False, **make)
    elif make is not None:
        (tmp_path / "evaluation.json").write_text(make)
    assert main.main(["report", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("edmf report: ") and error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_an_existing_target_needs_force_even_if_it_is_ours(tmp_path, scenes, capsys):
    make_evaluation(tmp_path, ["m"], scenes, pictures=False)
    (tmp_path / "notes.html").write_text("mine")
    (tmp_path / "sheet.png").write_text("mine")
    report = ["report", str(tmp_path), "--images", "0"]
    assert main.main(report) == 0
    first = (tmp_path / "report.html").read_bytes()
    for words in ([], ["-o", str(tmp_path / "notes.html")], ["--sheet", str(tmp_path / "sheet.png")]):
        assert main.main([*report, *words]) == 2
        error = capsys.readouterr().err
        assert "already there, and not overwritten" in error and "--force" in error and error.count("\n") == 1
    assert (tmp_path / "report.html").read_bytes() == first
    assert (tmp_path / "notes.html").read_text() == (tmp_path / "sheet.png").read_text() == "mine"
    assert main.main([*report, "-o", str(tmp_path / "notes.html"), "--force"]) == 0
    assert (tmp_path / "notes.html").read_bytes() == first


def test_scores_made_by_two_versions_are_told_apart(make_page, scenes):
    entries = [{"name": name, "slug": f"method-{k}", "spec": name, "missing": []} for k, name in enumerate("ab")]
    entries[0]["made_by"] = [{"versions": {"jax": "1.0", "opencv": "4.10"}, "ids": ["1", "2"]},
                             {"versions": {"jax": "1.0", "opencv": "5.0"}}]
    entries[1]["made_by"] = [{"versions": {"jax": "1.0", "opencv": "5.0"}}]
    page = make_page(methods="ab", options={"images": 0}, edit={"methods": entries})
    assert ("Scores were made by more than one version: a: 2 pairs by opencv 4.10, then 12 pairs by opencv 5.0; "
            "b: all by opencv 5.0.") in page
    assert "Versions of a (2 pairs): jax 1.0, opencv 4.10." in page
    assert "Versions of a (12 pairs), b (14 pairs): jax 1.0, opencv 5.0." in page

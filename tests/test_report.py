"""The report as a file: what is in it, what is chosen for it, how large it gets, what is refused."""

import base64
import hashlib
import html
import json
import re
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import cv2
import numpy as np
import pytest
from reports import METRICS, FakePairs, make_evaluation, make_scene

from edmf_jax import main, report_data
from edmf_jax import report as report_module
from edmf_jax import report_sheet as sheet_module
from edmf_jax.copies import LEVELS
from edmf_jax.data import open_dataset
from edmf_jax.errors import UserError
from edmf_jax.images import read_image, write_image
from edmf_jax.pairs import Scene, open_pairs
from edmf_jax.report import report
from edmf_jax.report_crops import choose_crops
from edmf_jax.report_data import choose_pairs, open_sources, read
from edmf_jax.report_html import render
from edmf_jax.report_images import AMPLIFIED, difference, encode_pair, focus_mask, make_pictures
from edmf_jax.report_plots import dot_plots, number, ticks
from edmf_jax.sheet import GAP_PX, LABEL_PX
from edmf_jax.webpage import to_script

NASTY = "<b>\"&'ü</script><!--"


def quiet(_):
    pass


@pytest.fixture
def scenes():
    return {str(i): make_scene(str(i), 60, 84) for i in range(1, 15)}


@pytest.fixture
def made(tmp_path, scenes, monkeypatch):
    """Makes an evaluation, and its report from scenes in memory; gives the page's text."""
    def make(methods=("first", "second"), pairs=scenes, options=None, **fields):
        folder = tmp_path / "w"
        make_evaluation(folder, list(methods), pairs, **fields)
        monkeypatch.setattr(report_module, "open_sources", lambda *_, **__: FakePairs(pairs))
        return report(folder, log=quiet, **(options or {})).read_text(encoding="utf-8")

    return make


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def pairs_of(page):
    found = re.findall(r'<script type="application/json" class="pair">(.*?)</script>', page)
    return [json.loads(text) for text in found]


def decoded(text):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR),
                        cv2.COLOR_BGR2RGB)


def test_the_page_has_scores_pictures_and_settings(made, scenes):
    page = made(options={"images": 4})
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


def test_the_same_evaluation_gives_the_same_page(made):
    assert made(options={"images": 3}) == made(options={"images": 3})


def test_layers_are_the_pictures(made, scenes):
    pair = pairs_of(made(options={"images": 14}))[2]
    scene = scenes[pair["id"]]
    height, width = scene.a.shape[:2]
    shown = {key: decoded(parts[0]) for key, parts in pair["layers"].items()}
    assert {picture.shape for picture in shown.values()} == {(height, width, 3)}
    # Mean grey levels survive the codec, and tell the layers from each other.
    assert shown["a"][:, : width // 2].std() > 3 * shown["a"][:, width // 2 + 4 :].std()
    assert shown["b"][:, width // 2 + 4 :].std() > 3 * shown["b"][:, : width // 2 - 4].std()
    assert shown["m1"].mean() - shown["m0"].mean() == pytest.approx(10, abs=1)
    assert shown["d1"].mean() == pytest.approx(10 * AMPLIFIED, abs=3) and shown["d0"].mean() < 0.5 * AMPLIFIED + 1
    np.testing.assert_array_equal(shown["mask"][..., 0], focus_mask(scene.a, scene.b))
    assert shown["mask"][:, 5].min() == 255 and shown["mask"][:, -5].max() == 0


def test_nothing_is_fetched_and_only_our_own_script_may_run(made):
    page = made(options={"images": 2})
    bare = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"\b(src|href)\s*=\s*[\"'](?!#|data:)", bare)
    assert not re.search(r"@import|url\(|XMLHttpRequest|fetch\(|innerHTML|eval\(", bare)
    assert not re.search(r"\sstyle=|\son\w+=", bare)  # the policy would forbid them
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src" not in policy
    for kind, text in (("style", re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]),
                       ("script", re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_names_are_escaped_wherever_they_stand(made):
    pairs = {name: make_scene(name, 60, 84) for name in ("a&b", "c'd", "é")}
    page = made(methods=[NASTY, "{{data}}"], pairs=pairs, options={"images": 2})
    assert "<b>" not in page and html.escape(NASTY) in page
    assert page.count("</script>") == 2 + 2  # data, two pairs, the script
    assert data_of(page)["methods"] == [NASTY, "{{data}}"] and data_of(page)["ids"] == list(pairs)
    assert {pair["id"] for pair in pairs_of(page)} < set(pairs)
    assert json.loads(to_script("\u2028<!--</script>&")) == "\u2028<!--</script>&"
    assert not re.search("[<>&\u2028]", to_script("\u2028<!--</script>&"))


def test_undefined_and_infinite_scores(made):
    def values(method, pair, metric):
        if metric == "PSNR":
            return np.inf if pair else -np.inf
        return np.nan if metric == "Qabf" and pair == 3 else 0.5 + 0.01 * pair + method

    page = made(values=values, options={"images": 3})
    scores = data_of(page)["scores"]
    assert scores[1][0][3] is None and scores[2][0][:2] == ["-inf", "inf"]
    assert data_of(page)["pairs"] == [14, 13, 0, 14]
    assert "13 of 14 pairs" in page and "0 of 14 pairs" in page and '<td data-value="">–</td>' in page
    assert "Left out of Qabf" in page and "No pair has a finite value" in page
    assert "NaN" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_a_single_method_and_a_single_pair(made):
    pairs = {"1": make_scene("1", 60, 84, color=False)}
    page = made(methods=["only"], pairs=pairs)
    assert data_of(page)["tests"] == [] and "<u>" not in page.split("</table>")[0]
    assert [pair["why"] for pair in pairs_of(page)] == ["One of the worst of only in SSIM."]


def test_without_pictures_the_data_set_is_not_needed(tmp_path, scenes, monkeypatch):
    make_evaluation(tmp_path / "w", ["m"], scenes, pictures=False)
    monkeypatch.setattr(report_module, "open_sources", pytest.fail)
    page = report(tmp_path / "w", tmp_path / "page.html", images=0, log=quiet).read_text(encoding="utf-8")
    assert pairs_of(page) == [] and not (tmp_path / "w" / "report.html").exists()


def test_fused_pictures_that_are_gone_or_of_another_size_are_shown_as_absent(made, tmp_path, scenes):
    made(options={"images": 0})
    (tmp_path / "w" / "method-0" / "fused" / "3.png").unlink()
    write_image(tmp_path / "w" / "method-1" / "fused" / "4.png", scenes["4"].a[1:])
    lines = []
    page = report(tmp_path / "w", images=14, log=lines.append).read_text(encoding="utf-8")
    pairs = {pair["id"]: pair for pair in pairs_of(page)}
    assert pairs["3"]["absent"] == {"m0": "no picture file"} and "m0" not in pairs["3"]["layers"]
    assert pairs["4"]["absent"] == {"m1": "picture of another size"} and "d1" not in pairs["4"]["layers"]
    assert "first 3, second 4" in page and any("first 3, second 4" in line for line in lines)


def test_unfinished_methods_are_named_and_an_evaluation_being_written_is_left_alone(made, tmp_path):
    made(options={"images": 0})
    scores = tmp_path / "w" / "method-1" / "scores.csv"
    torn = scores.read_bytes()[:-5]
    scores.write_bytes(torn)
    page = report(tmp_path / "w", images=2, log=quiet).read_text(encoding="utf-8")
    assert data_of(page)["methods"] == ["first"] and "pairs are still to be scored: second" in page
    assert scores.read_bytes() == torn
    (tmp_path / "w" / "method-0" / "scores.csv").unlink()
    with pytest.raises(UserError, match="no method has scores of all 14 pairs yet; finish it first: edmf evaluate"):
        report(tmp_path / "w", log=quiet)
    assert not (tmp_path / "w" / "method-0" / "scores.csv").exists()


def test_choice_of_pairs(tmp_path, scenes):
    def values(method, pair, metric):
        lead = {4: 0.3, 9: -0.3, 2: 0.2}.get(pair, 0.001 * pair) if metric == "SSIM" else 0.0
        return 0.5 + (lead if method == 0 else 0)

    make_evaluation(tmp_path, ["x", "y"], scenes, values=values, pictures=False)
    evaluation = read(tmp_path)
    chosen = choose_pairs(evaluation, 6)
    # Places 4, 9 and 2 are pairs 5, 10 and 3; the rest is spread from the first to the last.
    assert [pair.id for pair in chosen] == ["1", "3", "5", "8", "10", "14"]
    why = {pair.id: pair.why for pair in chosen}
    assert why["10"] == "One of those where x is furthest behind y in SSIM." and "ahead of y" in why["5"]
    assert chosen == choose_pairs(evaluation, 6)
    assert [pair.id for pair in choose_pairs(evaluation, 100)] == list(scenes)
    assert len(choose_pairs(evaluation, 1)) == 1


@pytest.mark.parametrize("limit", [400_000, 150_000])
def test_the_budget_lowers_quality_and_is_kept(made, limit):
    pairs = {str(i): make_scene(str(i), 300, 420) for i in range(4)}
    page = made(pairs=pairs, options={"limit_bytes": limit, "images": 4})
    assert len(page.encode()) <= limit and len(pairs_of(page)) == 4
    assert all(pair["quality"] < LEVELS[0].quality for pair in pairs_of(page))
    # Noise is the hardest case there is; the budget is still made use of.
    assert len(page.encode()) > 0.5 * limit


def test_pairs_that_no_quality_makes_small_enough_are_named(made):
    page = made(options={"limit_bytes": 90_000, "images": 14})
    left = [pair["id"] for pair in pairs_of(page)]
    assert len(left) < 14 and len(page.encode()) <= 90_000
    assert "Pictures of these pairs would have made the page too large" in page


@pytest.mark.parametrize(("shape", "color"), [((16, 16), False), ((8, 30), True), ((2000, 3000), False)])
def test_pictures_of_any_size(shape, color):
    scene = make_scene("s", *shape, color=color, truth=True)
    pictures = make_pictures(scene, ["m", "gone"], {"m": scene.a, "gone": None}.get)
    assert (pictures.height, pictures.width) == shape and pictures.absent == {"m1": "no picture file"}
    assert ("mask" in pictures.layers) == (min(shape) >= 10)
    with ThreadPoolExecutor(2) as pool:
        for level in (LEVELS[0], LEVELS[-1]):
            pair = encode_pair(pictures, level, pool)
            assert max(pair["whole"]) == min(level.whole_px, max(shape))
            for key, parts in pair["layers"].items():
                assert decoded(parts[0]).shape[1::-1] == tuple(pair["whole"]), key
                assert len(parts) == (1 + len(pair["crops"]) if max(shape) > level.whole_px else 1)
            for crop, part in zip(pair["crops"], pair["layers"]["m0"][1:]):
                y, x = crop["y"], crop["x"]
                original = scene.a[y : y + crop["height"], x : x + crop["width"]]
                assert decoded(part).shape[:2] == original.shape[:2] and max(original.shape) <= level.crop_px
                assert abs(decoded(part)[..., 1].mean() - original.mean()) < 2


def test_difference_is_to_the_truth_where_there_is_one(rng):
    a, b, fused, truth = rng.integers(0, 256, (4, 12, 14, 3), np.uint8)
    to_truth = np.abs(fused.astype(float) - truth).mean(-1)
    np.testing.assert_allclose(difference(Scene("", a, b, truth), fused), np.minimum(4 * to_truth, 255), atol=0.51)
    to_mean = np.abs(fused - (a.astype(float) + b) / 2).mean(-1)
    np.testing.assert_allclose(difference(Scene("", a, b), fused), np.minimum(4 * to_mean, 255), atol=0.51)
    assert difference(Scene("", a, b), fused[..., 0]).shape == (12, 14)  # a grey picture of colour sources


def test_crops_are_where_they_say():
    rng = np.random.default_rng(1)
    height, width, side = 200, 320, 64
    sharp = rng.integers(60, 200, (height, width), np.uint8)
    sharp[:80, :80] = 128  # nothing happens there
    sharp[120:, :80] = 0  # nor here, but it is a black border
    mask = np.where(np.arange(width) < 200, 255, 0).astype(np.uint8)[None].repeat(height, 0)
    spread = np.zeros((height, width), np.uint8)
    spread[100:160, 240:300] = 9
    differ, edge, even = choose_crops(sharp, sharp, mask, spread, side)
    assert (differ.x <= 240 and differ.x + side >= 300) and (differ.y <= 100 and differ.y + side >= 160)
    assert edge.x < 200 < edge.x + side and edge.label == "edge of focus"
    assert even.x + side <= 82 and even.y + side <= 82
    for crop in (differ, edge, even):
        assert 0 <= crop.x <= width - side and 0 <= crop.y <= height - side
    assert differ.shrunk(32)[1:] == (differ.x + 16, differ.y + 16, 32, 32)
    assert choose_crops(sharp[:50, :60], sharp[:50, :60], None, None, side) == ()
    assert [c.label for c in choose_crops(sharp, sharp, None, None, side)] == ["even area"]


def test_axes_say_where_they_begin(tmp_path, scenes):
    def values(method, pair, metric):
        return {"SSIM": 0.9, "Qabf": 0.1 + 0.5 * method}.get(metric, 1.0) + 0.001 * pair

    make_evaluation(tmp_path, ["x", "y"], scenes, values=values, pictures=False)
    near, wide, *_ = re.findall(r"<figure.*?</figure>", dot_plots(read(tmp_path).summary))
    assert "axis not from 0" in near and "axis from 0: 0.000" in wide and "higher is better" in near
    assert re.search(r'aria-label="SSIM: x 0\.\d{3}, 0\.\d{3} to 0\.\d{3}; y ', near)
    assert ticks(0.557, 0.726) == pytest.approx([0.6, 0.65, 0.7]) and ticks(3.0, 3.0) == [3.0]
    assert [number(v) for v in (-1.5, float("nan"), float("inf"), None)] == ["−1.500", "–", "∞", "–"]


def test_a_real_data_set_is_found_again_and_another_one_refused(tmp_path, data_dir):
    open_dataset("edmf_synthetic/tiny", str(data_dir), log=quiet)
    pairs = open_pairs("edmf_synthetic/tiny", "test", data_dir=str(data_dir), log=quiet)
    scenes = {record.id: pairs.decode(record) for record in pairs.records()}
    opened = {"source": None, "patterns": None, "data_dir": str(data_dir)}
    fields = {"dataset": "edmf_synthetic/tiny", "data_bytes": pairs.data_bytes, "opened": opened}
    make_evaluation(tmp_path / "w", ["m"], scenes, **fields)
    page = report(tmp_path / "w", log=quiet).read_text(encoding="utf-8")
    assert [pair["id"] for pair in pairs_of(page)] == ["0", "1"] and "truth" in pairs_of(page)[0]["layers"]
    make_evaluation(tmp_path / "v", ["m"], scenes, **{**fields, "data_bytes": 7, "opened": None,
                                                      "commands": [f"edmf evaluate --data-dir {data_dir}"]})
    with pytest.raises(UserError, match=r"is not the data set that was evaluated: 2 pairs of .* --images 0"):
        open_sources(read(tmp_path / "v"), log=quiet)


def test_what_older_evaluations_were_opened_with_is_in_their_command(tmp_path):
    command = (f"edmf evaluate --dataset image_pairs --source {tmp_path} --data-dir nowhere --allow-missing "
               "--pattern-a 'a/{id}.png' --pattern-b 'b/{id}.png' --method m --workdir w")
    opened = report_data._opened({"commands": ["edmf evaluate --dataset edmf", command]})
    assert opened == {"source": str(tmp_path), "data_dir": None, "allow_missing": True,
                      "patterns": {"a": "a/{id}.png", "b": "b/{id}.png", "truth": None}}


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


def test_the_parts_are_in_the_package(tmp_path, scenes):
    folder = resources.files("edmf_jax") / "report_page"
    assert {item.name for item in folder.iterdir()} == {"page.html", "page.css", "tools.js", "compare.js", "viewer.js",
                                                        "start.js", "evaluation.js", "fusion.html", "fusion.js",
                                                        "matches.js", "head.html"}
    make_evaluation(tmp_path, ["m"], scenes, pictures=False)
    assert "{{" not in render(read(tmp_path), [])


def test_the_sheet_has_every_cut_out_of_every_pair_enlarged(tmp_path, monkeypatch):
    scenes = {str(i): make_scene(str(i), 150, 300, color=False) for i in range(1, 4)}
    make_evaluation(tmp_path / "w", ["first", "second"], scenes)
    monkeypatch.setattr(sheet_module, "open_sources", lambda *_, **__: FakePairs(scenes))
    lines = []
    path = sheet_module.write_sheet(tmp_path / "w", tmp_path / "sheet.png", images=2, log=lines.append)
    picture = read_image(path)
    side = sheet_module.ZOOM * sheet_module.SIDE_PX
    cell = side + LABEL_PX + GAP_PX, side + GAP_PX
    assert (picture.shape[1] - GAP_PX) // cell[1] == 4  # two sources, two methods
    assert (picture.shape[0] - GAP_PX) // cell[0] >= 2 and lines == [f"sheet: {path} "
                                                                    f"({path.stat().st_size / 1e6:.1f} MB)"]
    tile = picture[GAP_PX + LABEL_PX :, GAP_PX:][:side, :side]
    np.testing.assert_array_equal(tile[::2, ::2], tile[1::2, 1::2])  # every pixel twice as large
    cut = tile[::2, ::2, 0]
    sources = [scenes[name].a for name in scenes]
    assert any((np.lib.stride_tricks.sliding_window_view(a, cut.shape) == cut).all((2, 3)).any() for a in sources)
    with pytest.raises(UserError, match="no cut-out to show"):
        sheet_module.write_sheet(tmp_path / "w", tmp_path / "none.png", images=0)

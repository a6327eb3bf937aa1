"""The report of a fusion: what is on the page, what is refused, and what a reader does to it in a browser."""

import base64
import datetime
import functools
import html
import json
import re

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax import fusion as fusion_module
from edmf_jax import main
from edmf_jax.color import luma
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.focus import focus_masks
from edmf_jax.fusion import fuse_files
from edmf_jax.fusion_page import SHOWN_MATCHES, picture_record, render
from edmf_jax.fusion_pictures import FUSION_LEVELS, Fusion, collect
from edmf_jax.fusion_report import make_page
from edmf_jax.images import read_image, write_image
from edmf_jax.maps import shot_colours
from edmf_jax.model import init_params, make_model
from edmf_jax.photo import PhotoOptions, PhotoResult, alignment, fusing
from edmf_jax.registration import Registration, transforms
from edmf_jax.weights import Weights, params_sha256

NASTY = "<b>\"&'ü</script><!--"
MODEL = make_model(2)
PARAMS = jax.tree.map(lambda x: np.zeros(x.shape, np.float32),
                      jax.eval_shape(lambda key: init_params(MODEL, key), jax.random.key(0)))
WEIGHTS = Weights(PARAMS, {"model": {"width": 2, "dtype": "float32"}}, "tiny", "9.8.7")
MATRIX = np.array([[1.01, 0.004, 5.0], [-0.004, 1.01, 3.0], [0, 0, 1]])  # from the reference to the other shot
WHEN = datetime.datetime(2026, 11, 25, 12, 0, tzinfo=datetime.UTC)


def scene(height=260, width=340, seed=0):
    """Detail at every scale, uint8 RGB."""
    rng = np.random.default_rng(seed)
    picture = sum(noise / noise.std() for noise in (
        cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma) for sigma in (1.2, 3, 6, 12, 24)))
    return np.clip(127 + 22 * picture, 8, 247).astype(np.uint8)


def two_shots(height=260, width=340):
    """One scene, sharp on the left, and from elsewhere (`MATRIX`), darker, sharp on the right."""
    whole = scene(height, width)
    blurred = cv2.GaussianBlur(whole, (0, 0), 2.5)
    near, far = whole.copy(), blurred.copy()
    near[:, width // 2 :], far[:, width // 2 :] = blurred[:, width // 2 :], whole[:, width // 2 :]
    far = cv2.warpPerspective(far, MATRIX, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return near, (0.8 * far).astype(np.uint8)


def found(points, **fields):
    ends = transforms.project(MATRIX, points)
    numbers = {"matches": 1234, "inliers": len(points), "tiles": 77, "agreeing": 66, "residual_px": 0.345,
               "deviation_px": 0.678, "overlap": 0.91, "confident": True} | fields
    return Registration(MATRIX, "pso-sift", "homography", points=points, targets=ends, **numbers)


def made(shots, names=None, frame=None, options=None, **fields):
    """A fusion that could have been: the mean of the shots."""
    height, width = shots[0].shape[:2]
    top, left, height, width = frame or (0, 0, height, width)
    part = slice(top, top + height), slice(left, left + width)
    sources = np.zeros((height, width), np.uint8)
    sources[:, width // 2 :] = len(shots) - 1
    points = np.random.default_rng(0).uniform(0, [width, height], (400, 2))
    result = PhotoResult(shots[0][part], sources, (None, *[found(points)] * (len(shots) - 1)),
                         tuple(-0.35 * number for number in range(len(shots))), (top, left, height, width))
    fields = {"weights": WEIGHTS, "options": options or PhotoOptions(), "result": result, "image": result.image,
              "seconds": 12.3} | fields
    return Fusion(names or [f"there/{number}.png" for number in range(len(shots))], "here/out.png", **fields)


def record_of(page):
    return json.loads(re.search(r'<script type="application/json" class="pair">(.*?)</script>', page)[1])


def decoded(text):
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def page_of(shots, limit_bytes=10**7, **fields):
    return make_page(made(shots, **fields), list(shots), limit_bytes=limit_bytes).decode()


# --- what is on the page


def test_the_numbers_and_settings_are_on_the_page():
    page = page_of(two_shots())
    row = page.split("<tbody>")[1].split("</tr>")[1]
    for cell in ("340 × 260", "−0.35", "50.0 %", "400 of 1,234", "66 of 77", "0.34", "0.68", "91 %", "yes"):
        assert re.search(rf"<td>[^/]*(/></svg> )?{re.escape(cell)}</td>", row) or f"{cell}</td>" in row, cell
    for words in ("out.png, 340 × 260 px, 8 bits, colour", "pso-sift, homography", "reference: of the first shot",
                  "tiny, written by edmf-jax 9.8.7", params_sha256(PARAMS), "in 12.3 s", "edmf-jax ", "jax "):
        assert words in page, words
    assert re.search(r"<dd>20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}, in", page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert [shot["size"] for shot in data["shots"]] == [[340, 260]] * 2
    assert "shifted in it by +7.2 px to the right and +3.6 px down, turned by −0.23°, and 101.00 % as large" in (
        data["shots"][1]["evidence"])
    assert "there" not in data["shots"][0]["name"] and "there/" not in page  # folders are the user's own business


def test_matching_points_are_where_they_were_found():
    record = record_of(page_of(two_shots()))
    assert record["matches"][0] == [] and set(record["asCame"]) == {"0", "1"}
    lines = np.array(record["matches"][1])
    assert lines.shape == (SHOWN_MATCHES, 4) and np.ptp(lines[:, 0]) > 8000  # of the whole picture
    points = lines[:, :2] / 10_000 * [340, 260] - 0.5
    np.testing.assert_allclose(lines[:, 2:] / 10_000 * [340, 260] - 0.5, transforms.project(MATRIX, points), atol=0.05)
    np.testing.assert_allclose(decoded(record["asCame"]["1"]).mean(), two_shots()[1].mean(), atol=2)


def test_layers_lie_upon_each_other():
    near, far = two_shots()
    record = record_of(page_of((near, far)))
    layers = {key: decoded(parts[0]).astype(int) for key, parts in record["layers"].items()}
    assert set(layers) == {"result", "map", "mask", "s0", "s1"}
    assert np.abs(layers["s0"] - near).mean() < 4 and np.abs(layers["result"] - near).mean() < 4
    inside = np.s_[8:-8, 200:-8]  # where the second shot is sharp
    assert np.abs(layers["s1"][inside] - 0.8 * scene()[inside]).mean() < 8
    assert np.abs(far[inside] - 0.8 * scene()[inside]).mean() > 15  # which it is not before it was moved
    np.testing.assert_array_equal(np.unique(layers["map"].reshape(-1, 3), axis=0), np.unique(shot_colours(2), axis=0))
    np.testing.assert_array_equal(layers["map"][5, 5], shot_colours(2)[0])


def test_the_focus_mask_is_the_paper_s(monkeypatch):
    monkeypatch.setattr("edmf_jax.fusion_pictures._STRIP_PX", 64)  # several strips
    near, far = two_shots()
    fused = made((near, far), result=None, options=None)
    mask = collect(fused, [near, far]).layers["mask"].whole
    planes = (jnp.asarray(luma(x.astype(np.float32) / 255)) for x in (near, far))
    expected = 255 * np.asarray(focus_masks(*planes)[0]).astype(np.uint8)
    assert (mask == expected).mean() > 0.9999 and 0.2 < (mask == 0).mean() < 0.8


def test_cut_outs_are_in_full_resolution_and_in_place(monkeypatch):
    monkeypatch.setattr("edmf_jax.fusion_pictures.FUSION_LEVELS", FUSION_LEVELS[-3:])
    near, far = two_shots(900, 1200)
    fused = made((near, far), frame=(20, 30, 840, 1100))
    pictures = collect(fused, [near, far])
    assert len(pictures.crops) >= 2 and pictures.layers["s0"].whole.shape[1] == 320
    for crop, cut in zip(pictures.crops, pictures.layers["s0"].crops):
        place = np.s_[20 + crop.y : 20 + crop.y + crop.height, 30 + crop.x : 30 + crop.x + crop.width]
        np.testing.assert_array_equal(cut, near[place])
    wholes = [pictures.layers[key].whole for key in ("s0", "result", "s1", "map", "mask")]
    assert {whole.shape[:2] for whole in wholes} == {(244, 320)}
    assert np.abs(wholes[0].astype(int) - wholes[1]).mean() < 3


@pytest.mark.parametrize("kind", ["grey", "16 bits", "not registered"])
def test_every_kind_of_shot(kind):
    shots = two_shots(80, 96)
    if kind == "grey":
        shots = [shot[..., 0] for shot in shots]
    if kind == "16 bits":
        shots = [shot.astype(np.uint16) * 257 for shot in shots]
    fused = made(shots)
    if kind == "not registered":
        result = PhotoResult(shots[0], fused.sources, (None, None), (0.0, 1.0), fused.frame)
        fused = made(shots, result=result, options=PhotoOptions(align="none"))
    page = make_page(fused, shots).decode()
    assert {"grey": "8 bits, grey", "16 bits": "16 bits, colour"}.get(kind, "taken as registered") in page
    assert ("Residual" in page.split("</table>")[0]) == (kind != "not registered")
    assert set(record_of(page)["layers"]) == {"result", "map", "mask", "s0", "s1"}


def test_names_are_escaped_wherever_they_stand():
    names = [f"x/{NASTY}.png", "x/{{data}}.png"]
    weights = Weights(PARAMS, WEIGHTS.config, NASTY, NASTY)
    page = page_of(two_shots(60, 70), names=names, weights=weights)
    assert "<b>" not in page and html.escape("<!--") in page and page.count("</script>") == 3
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["shots"][1]["name"] == "{{data}}.png"
    bare = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"\b(src|href)\s*=\s*[\"'](?!#|data:)", bare) and not re.search(r"\sstyle=|\son\w+=", bare)
    assert "default-src 'none'" in page and "unsafe" not in page and "{{" not in render(made(two_shots(60, 70)),
                                                                                       [(1, 1)] * 2, [], WHEN)


def test_a_long_bracket_fits_the_page():
    near, far = two_shots(200, 300)
    shots = [near, *[np.roll(far, number) for number in range(11)]]
    full, small = page_of(shots), page_of(shots, limit_bytes=200_000)
    assert len(small.encode()) < 200_000 < len(full.encode())
    assert record_of(small)["whole"][0] < record_of(full)["whole"][0] == 300
    assert set(record_of(full)["layers"]) == {"result", "map", *[f"s{number}" for number in range(12)]}
    with pytest.raises(UserError, match=r"out.png: its report would take more than 0.1 MB with the pictures of 12"):
        page_of(shots, limit_bytes=60_000)


def test_few_pictures_are_kept_of_many(monkeypatch):
    monkeypatch.setattr("edmf_jax.fusion_pictures._KEPT_PIXELS", 300_000)
    shots = two_shots(600, 900)
    fused = made(shots)
    pictures = collect(fused, list(shots))
    assert pictures.first > 2
    kept = sum(x.size / x.shape[-1] for views in pictures.layers.values() for x in (views.whole, *views.crops)
               if x.ndim == 3)
    assert kept < 300_000
    assert picture_record(fused, pictures, {}, FUSION_LEVELS[pictures.first])["matches"][1]


# --- files


@pytest.fixture
def quick(monkeypatch):
    """No network: the mean of its planes; and shots that need no registration."""
    monkeypatch.setattr(fusing, "fuse_piece", lambda model, params, a, b, shape: (a + b) / 2)


@pytest.fixture
def folder(tmp_path):
    for name, shot in zip(("a.png", "b.png"), two_shots(120, 160)):
        write_image(tmp_path / name, shot)
    return tmp_path


def fuse_in(folder, **changes):
    arguments = {"out": folder / "out.png", "report": folder / "page.html", "weights": WEIGHTS, "align": "none"}
    return fuse_files([folder / "a.png", folder / "b.png"], **(arguments | changes))


def refused(folder, words, error=UserError, **changes):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(error) as caught:
        fuse_in(folder, **changes)
    assert words in str(caught.value) and "\n" not in str(caught.value), str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_page_is_written_beside_the_result(folder, quick):
    shares = []
    fused = fuse_in(folder, save_map=folder / "map.png", progress=lambda what, share: shares.append(share))
    assert shares == sorted(shares) and shares[-1] <= 1
    record = record_of((folder / "page.html").read_text(encoding="utf-8"))
    assert record["id"] == "out.png" and (record["width"], record["height"]) == (160, 120)
    np.testing.assert_array_equal(read_image(folder / "out.png"), fused)
    shown = decoded(record["layers"]["result"][0])
    assert np.abs(luma(shown.astype(float)) - luma(fused.astype(float))).mean() < 3  # WebP halves the colour's size
    map_there = cv2.cvtColor(cv2.imread(str(folder / "map.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(decoded(record["layers"]["map"][0]), map_there)
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png", "out.png", "map.png", "page.html"}


def test_the_paper_s_preset_has_a_page_too(folder, monkeypatch):
    monkeypatch.setattr(fusion_module, "_fuse_checked", lambda images, names, weights: images[0])
    fuse_in(folder, preset="paper", align=None)
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert set(record_of(page)["layers"]) == {"result", "mask", "s0", "s1"}
    assert "paper: registered shots" in page and "stop" not in page.split("</table>")[1].split("</section>")[0]
    assert "Exposure" not in page.split("</table>")[0]


def test_what_is_wrong_with_the_page_s_name_is_found_before_the_work(folder, monkeypatch):
    monkeypatch.setattr(fusion_module.photo, "fuse_photos", None)
    refused(folder, "page.htm: a report is a page; give it the suffix .html", report=folder / "page.htm")
    refused(folder, "the folder", MissingFileError, report=folder / "no" / "page.html")
    (folder / "f.html").mkdir()
    refused(folder, "f.html: this is a folder", report=folder / "f.html")
    (folder / "page.html").write_text("mine")
    refused(folder, "page.html: already there, and not overwritten; name another file, or use --force")
    (folder / "link.html").symlink_to("out.png")
    refused(folder, "link.html: the report and the picture would be one file", report=folder / "link.html", force=True)
    (folder / "map.html").symlink_to("map.png")
    refused(folder, "map.html: the report and the map would be one file", report=folder / "map.html", force=True,
            save_map=folder / "map.png")
    (folder / "source.html").symlink_to("b.png")
    refused(folder, "source.html: this is one of the sources", report=folder / "source.html", force=True)
    with pytest.raises(UserError, match="a report shows 256 shots, and there are 257; leave it out"):
        fuse_files([folder / "a.png"] * 257, folder / "out.png", weights=WEIGHTS, report=folder / "other.html")


def test_force_replaces_and_failure_writes_nothing(folder, quick, monkeypatch):
    (folder / "page.html").write_text("mine")
    fuse_in(folder, force=True)
    assert (folder / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    def fails(*_, **__):
        raise UserError("no page today")

    monkeypatch.setattr(fusion_module, "make_page", fails)
    refused(folder, "no page today", force=True, save_map=folder / "map.png", exposure="average")


def test_a_full_disk_leaves_the_old_page(folder, quick, tiny_files):
    (folder / "page.html").write_text("mine")
    with tiny_files(4096), pytest.raises(UserError, match=r"page\.html: cannot be written"):
        fuse_in(folder, force=True)
    assert (folder / "page.html").read_text() == "mine"
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png", "page.html"}


@pytest.mark.parametrize("batch", [["--pairs", "A", "B"], ["--brackets", "A"]])
def test_a_batch_writes_no_reports(tmp_path, capsys, batch):
    assert main.main(["fuse", *batch, "-o", str(tmp_path / "out"), "--report", "p.html"]) == 2
    error = capsys.readouterr().err
    assert "--report p.html: a batch writes no reports; fuse the shots one by one" in error and error.count("\n") == 1


def test_the_matching_points_come_back_in_the_pictures_own_pixels():
    near, far = two_shots(400, 520)
    small = alignment.reduced(near, near.shape[0] * near.shape[1] / 2)
    one = alignment.find(small, near.shape, far, ("near", "far"), PhotoOptions())
    assert one.points.shape == one.targets.shape == (one.inliers, 2) and one.inliers > 50
    assert np.ptp(one.points[:, 0]) > 300  # not the copy's
    apart = np.linalg.norm(transforms.project(MATRIX, one.points) - one.targets, axis=1)
    assert np.median(apart) < 1 and apart.max() < 6


# --- in a browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The page of a fusion of two shots with a nasty name, registered by us."""
    folder = tmp_path_factory.mktemp("page")
    paths = [folder / "a <b>&\"'.png", folder / "b.png"]
    for path, shot in zip(paths, two_shots(400, 520)):
        write_image(path, shot)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusing, "fuse_piece", lambda model, params, a, b, shape: (a + b) / 2)
        fuse_files(paths, folder / "out.png", weights=WEIGHTS, report=folder / "page.html")
    return (folder / "page.html").as_uri()


@pytest.fixture
def open_page(visit, page_file):
    return functools.partial(visit, page_file)


def seen(page, selector="#stage"):
    """What is on the screen there: uint8 RGB."""
    data = np.frombuffer(page.locator(selector).screenshot(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(int)


def drag(page, share):
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + 70)
    page.mouse.up()


def test_the_slider_moves_and_changes_what_is_seen(open_page):
    page = open_page()
    assert page.locator("#left-name").inner_text() == "1 a <b>&\"'.png (reference)"
    page.select_option("#left", "map")
    page.select_option("#right", "mask")
    drag(page, 0.75)
    assert page.input_value("#slider") == "75"
    before, width = seen(page), seen(page).shape[1]
    drag(page, 0.25)
    after = seen(page)
    moved = np.abs(before - after).mean((0, 2)) > 20
    assert moved[int(0.3 * width) : int(0.7 * width)].mean() > 0.9 and not moved[: int(0.2 * width)].any()
    page.focus("#viewport")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#slider") == "27"
    page.keyboard.press("x")
    assert page.input_value("#left") == "mask" and page.locator("#map-key li").count() == 2
    page.select_option("#right", "s1")
    assert page.locator("#map-key").is_hidden()


def test_every_layer_can_be_seen_and_zoomed(open_page):
    page = open_page()
    options = page.evaluate("[...document.querySelectorAll('#left option')].map(o => o.value)")
    assert options == ["result", "s0", "s1", "map", "mask"]
    for key in options:
        page.select_option("#right", key)
        assert page.evaluate("[...document.images].every(i => i.hidden || (i.complete && i.naturalWidth > 0))")
    for zoom in (1, 2, 4):
        page.locator(f"#zooms label:has(input[value='{zoom}'])").click()
        assert page.evaluate("document.querySelector('#over img').offsetWidth") == zoom * 520
    assert page.locator("#views label").count() >= 3
    page.locator("#views label").nth(1).click()
    assert page.evaluate("document.getElementById('stage').offsetWidth") < 4 * 520


def test_matching_points_are_drawn(open_page):
    page = open_page()
    count = page.locator("#matches g").count()
    assert 50 < count <= SHOWN_MATCHES and page.locator("#matches image").count() == 2
    assert "matching points agree" in page.locator("#match-evidence").inner_text()
    lines = seen(page, "#matches")
    page.locator("#match-views label").nth(1).click()
    assert page.locator("#matches line").first.is_hidden()
    points = seen(page, "#matches")
    assert np.abs(lines - points).mean() > 1
    page.locator("#matches circle").first.hover(force=True)
    assert page.locator("#matches g.picked").count() == 1 and page.locator("#matches g.picked line").is_visible()


@pytest.mark.parametrize("width", [320, 390])
def test_readable_on_a_phone(open_page, width):
    page = open_page(width, 844, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#zooms label").last.tap()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("#viewport.pans").count() == 1
    nameless = page.evaluate("""[...document.querySelectorAll('button, select, input, #matches, [role=region]')].filter(
        e => !e.textContent.trim() && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')
        && !e.labels?.length).map(e => e.outerHTML.slice(0, 90))""")
    assert nameless == []

"""The page of a fusion in a browser: slider, layers, zoom, matching points, phones."""

import functools

import cv2
import numpy as np
import pytest

from edmf_jax.fusion import tiling
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.io.images import write_image
from edmf_jax.reports.fusion_html import MAX_SHOWN_MATCHES
from edmf_jax.reports.fusion_page import make_page
from tests.helpers.fusion_records import WEIGHTS, two_shots


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The page of a fusion of two shots with a nasty name, registered by us."""
    folder = tmp_path_factory.mktemp("page")
    paths = [folder / "a <b>&\"'.png", folder / "b.png"]
    for path, shot in zip(paths, two_shots(400, 520)):
        write_image(path, shot)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "fuse_piece", lambda model, params, a, b, shape: (a + b) / 2)
        fuse_files(paths, folder / "out.png", weights=WEIGHTS, report=folder / "page.html", make_page=make_page)
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
    assert 50 < count <= MAX_SHOWN_MATCHES and page.locator("#matches image").count() == 2
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

"""The page of an evaluation in a browser, by pointer, keyboard and finger; and that it requests nothing."""

import functools

import numpy as np
import pytest

from edmf_jax.reports import evaluation_page
from edmf_jax.reports.evaluation_page import write_report
from tests.helpers.reports import FakePairs, make_evaluation, make_scene

FIRST = "ours <b>&\"</script>"
METHODS = [FIRST, "middle", "a-method-with-a-name-that-is-much-longer-than-any-column-should-be"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report of 16 pairs of 420 × 300 px, eight of them with pictures, cut-outs too; one picture is gone."""
    folder = tmp_path_factory.mktemp("report")
    scenes = {str(i): make_scene(str(i), truth=True) for i in range(1, 16)} | {"<i>": make_scene("<i>", truth=True)}

    def values(method, pair, metric):
        if metric == "PSNR" and pair == 3:
            return np.inf
        lead = {5: -0.3, 11: 0.2}.get(pair, 0.001 * pair) if method == 0 else 0.0
        return 0.4 + 0.1 * method + 0.01 * ((5 * pair) % 7) + lead

    make_evaluation(folder, METHODS, scenes, values=values)
    (folder / "method-1" / "fused" / "6.png").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_page, "open_source_pairs", lambda *_, **__: FakePairs(scenes))
        # So little room that the pictures are reduced, and the cut-outs pictures of their own.
        path = write_report(folder, images=8, limit_bytes=1_300_000, log=lambda line: None)
    return path.as_uri()


@pytest.fixture
def open_page(visit, page_file):
    """Opens the report."""
    return functools.partial(visit, page_file)


def title(page):
    return page.locator("#pair-title").inner_text()


def wait_until(page, condition):
    """Asks again and again; playwright's own waiting is an `eval` in the page, which its policy forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within 5 s: {condition}")


def clip(page):
    """How much of the left picture is cut off at its right [px]."""
    return page.evaluate("parseFloat(document.getElementById('over').style.clipPath.split(' ')[1])")


def test_the_slider_is_moved_by_keyboard_and_pointer(open_page):
    page = open_page()
    width = page.locator("#stage").bounding_box()["width"]
    assert clip(page) == pytest.approx(width / 2, abs=1)
    page.focus("#slider")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert clip(page) == pytest.approx(0.4 * width, abs=1)
    assert page.locator("#slider").get_attribute("aria-valuetext") == f"60 % source A, the rest {FIRST}"
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.5 * width, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * width, box["y"] + 90)
    page.mouse.up()
    assert clip(page) == pytest.approx(0.75 * width, abs=2) and page.input_value("#slider") == "25"
    page.mouse.move(box["x"] + 0.9 * width, box["y"] + 90)
    assert clip(page) == pytest.approx(0.75 * width, abs=2)  # let go


def test_a_click_on_the_worst_case_opens_its_pictures(open_page):
    page = open_page()
    assert page.locator("#worst-title").inner_text() == f"Worst for {FIRST} against middle"
    worst = page.locator("#worst button").first
    assert worst.get_attribute("data-pair") == "6"  # the sixth, by 0.4
    worst.click()
    assert title(page).startswith("Pair 6 ")
    wait_until(page, "document.getElementById('pictures').getBoundingClientRect().top < 450")
    assert page.input_value("#left") == "m1" and page.input_value("#right") == "m0"
    # The second method's picture of this pair is gone, and the page says so.
    assert page.locator("#under img").is_visible() and page.locator("#over.absent").count() == 1
    assert page.locator("#over").get_attribute("data-text") == "middle: no picture file"
    page.locator("#best button").first.click()
    assert title(page).startswith("Pair 12 ") and page.locator("#over.absent").count() == 0


def test_points_are_chosen_by_keyboard_and_click(open_page):
    page = open_page()
    page.focus("#scatter")
    page.keyboard.press("Home")
    assert page.locator("#scatter").get_attribute("aria-activedescendant") == "point-5"
    assert page.locator("#detail h3").inner_text() == "Pair 6"
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert title(page).startswith("Pair 12 ")
    hidden = page.locator("#scatter circle[role=option]:not(.shown)").first
    hidden.scroll_into_view_if_needed()
    hidden.click(force=True)
    assert "not in this page" in page.locator("#detail").inner_text() and title(page).startswith("Pair 12 ")
    page.select_option("#metric", "2")
    assert "1 of 16 pairs have no finite value here" in page.locator("#scatter-hint").inner_text()
    page.select_option("#method-x", "-1")
    assert page.locator("#tests").is_hidden() and page.locator("#scatter circle[role=option]").count() == 15


def test_the_tests_of_two_methods(open_page):
    page = open_page()
    page.select_option("#method-y", "2")
    page.select_option("#method-x", "1")
    rows = page.locator("#tests-body tr")
    assert rows.count() == 4
    metric, difference, p, better = rows.first.locator("th, td").all_inner_texts()
    assert (metric, difference, better) == ("SSIM ↑", "+0.100", METHODS[2]) and p == "< 0.001"
    assert rows.last.locator("td").last.inner_text() == "middle"  # of ΔE less is better
    page.select_option("#method-y", "1")
    page.select_option("#method-x", "2")
    assert rows.first.locator("td").first.inner_text() == "−0.100"


def test_the_viewer_by_keyboard(open_page):
    page = open_page()
    first = title(page)
    page.focus("#viewport")
    page.keyboard.press("ArrowRight")
    second = title(page)
    assert second != first and "(2 of 8)" in second
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert "(8 of 8)" in title(page)
    left, right = page.input_value("#left"), page.input_value("#right")
    page.keyboard.press("x")
    assert (page.input_value("#left"), page.input_value("#right")) == (right, left)
    page.keyboard.press("v")
    page.keyboard.press("z")
    assert page.locator("#views input:checked").get_attribute("value") == "1"
    assert page.locator("#zooms input:checked").get_attribute("value") == "1"
    assert page.evaluate("getComputedStyle(document.getElementById('viewport')).outlineStyle") == "solid"
    page.focus("#left")
    page.keyboard.press("n")  # a select has letters of its own
    assert "(8 of 8)" in title(page)


def test_layers_cut_outs_and_zoom(open_page):
    page = open_page()
    options = page.locator("#left option").all_inner_texts()
    assert options[:3] == ["source A", "source B", "ground truth"] and "focus mask (white: A)" in options
    assert FIRST in options and f"|Δ| {FIRST}" in options
    assert page.locator("#zooms input[value='4']").is_disabled()  # of the reduced picture there are no more pixels
    page.select_option("#left", "mask")
    page.select_option("#right", "d0")
    assert "multiplied by 4: black is 0, white is 64 gray levels" in page.locator("#legend").inner_text()
    assert "distance to the ground truth" in page.locator("#legend").inner_text()
    page.locator("#views label").nth(1).click()
    side = page.evaluate("document.querySelector('#over img').naturalWidth")
    for zoom in (1, 2, 4):
        page.locator(f"#zooms label:has(input[value='{zoom}'])").click()
        box = page.evaluate("[document.getElementById('stage').offsetWidth, "
                            "document.querySelector('#over img').offsetWidth]")
        assert box == [zoom * side, zoom * side]
    assert page.evaluate("getComputedStyle(document.querySelector('#over img')).imageRendering") == "pixelated"
    assert page.evaluate("[...document.images].every(i => i.hidden || (i.complete && i.naturalWidth > 0))")


def test_a_column_sorts_the_rows(open_page):
    page = open_page()
    names = page.locator("#means tbody th")
    page.locator("#means thead button").first.click()
    assert names.all_inner_texts()[0] == METHODS[2]
    page.locator("#means thead button").first.click()
    assert names.all_inner_texts()[2] == METHODS[2]
    page.locator("#means thead button").last.click()  # ΔE: the least first
    assert names.all_inner_texts()[2] == METHODS[2]
    assert page.locator("#means [aria-sort=ascending]").count() == 1


def test_readable_on_a_phone(open_page):
    page = open_page(390, 844, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.tap("#worst button")
    page.locator("#views label").nth(1).tap()
    page.locator("#zooms label").last.tap()  # larger than the screen: scrolls in its own frame
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#viewport.pans").count() == 1
    page.evaluate("document.getElementById('viewport').scrollLeft = 150")
    wait_until(page, "parseFloat(document.getElementById('divider').style.left) > 150")
    assert page.evaluate("[...document.querySelectorAll('button')].filter(b => b.offsetParent)"
                         ".every(b => b.offsetHeight >= 24)")


def test_dark_and_light(open_page):
    papers = [open_page(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
              for scheme in ("light", "dark")]
    assert papers == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]


def test_controls_and_pictures_have_names(open_page):
    page = open_page()
    nameless = page.evaluate("""[...document.querySelectorAll('button, select, input, svg, [role=region]')].filter(
        e => !e.textContent.trim() && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')
        && !e.labels?.length).map(e => e.outerHTML.slice(0, 90))""")
    assert nameless == []
    assert page.locator("#under img").get_attribute("alt").endswith(" of pair 1")
    assert page.evaluate("document.documentElement.lang") == "en" and page.title().startswith("image_pairs/made-0")

"""The page of a fusion: numbers, settings, pictures, escaping, its size."""

import dataclasses
import datetime
import re

import numpy as np
import pytest
from markupsafe import escape

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, PhotoResult
from edmf_jax.io.palette_png import shot_colors
from edmf_jax.registration import Flow, transforms
from edmf_jax.reports.fusion_html import MAX_SHOWN_MATCHES, render
from edmf_jax.reports.fusion_page import make_page
from edmf_jax.reports.fusion_pictures import PlacedShot
from edmf_jax.weights.params import params_sha256
from edmf_jax.weights.store import Weights
from tests.helpers.fusion_records import MATRIX, PARAMS, WEIGHTS, make_record, page_of, textured_scene, two_shots
from tests.helpers.reports import data_of, decoded, pairs_of

NASTY = "<b>\"&'ü</script><!--"
WHEN = datetime.datetime(2026, 11, 25, 12, 0, tzinfo=datetime.UTC)


def test_the_numbers_and_settings_are_on_the_page():
    page = page_of(two_shots())
    row = page.split("<tbody>")[1].split("</tr>")[1]
    for cell in ("340 × 260", "−0.35", "50.0 %", "400 of 1,234", "66 of 77", "0.34", "0.68", "91 %", "yes"):
        assert re.search(rf"<td>[^/]*(/></svg> )?{re.escape(cell)}</td>", row) or f"{cell}</td>" in row, cell
    for words in ("out.png, 340 × 260 px, 8 bits, color", "pso-sift, auto", "reference: of the first shot",
                  "tiny, written by edmf-jax 9.8.7", params_sha256(PARAMS), "in 12.3 s", "edmf-jax ", "jax "):
        assert words in page, words
    assert re.search(r"<dd>20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}, in", page)
    data = data_of(page)
    assert [shot["size"] for shot in data["shots"]] == [[340, 260]] * 2
    evidence = data["shots"][1]["evidence"]
    assert "by +7.2 px to the right and +3.6 px down, rotated by −0.23°, and at 101.00 % of its size" in evidence
    assert "there" not in data["shots"][0]["name"] and "there/" not in page  # folders are the user's own business


def test_matching_points_are_where_they_were_found():
    record = pairs_of(page_of(two_shots()))[0]
    assert record["matches"][0] == [] and set(record["unaligned"]) == {"0", "1"}
    lines = np.array(record["matches"][1])
    assert lines.shape == (MAX_SHOWN_MATCHES, 4) and np.ptp(lines[:, 0]) > 8000  # of the whole picture
    points = lines[:, :2] / 10_000 * [340, 260] - 0.5
    np.testing.assert_allclose(lines[:, 2:] / 10_000 * [340, 260] - 0.5, transforms.project(MATRIX, points), atol=0.05)
    np.testing.assert_allclose(decoded(record["unaligned"]["1"]).mean(), two_shots()[1].mean(), atol=2)


def test_layers_lie_upon_each_other():
    near, far = two_shots()
    record = pairs_of(page_of((near, far)))[0]
    layers = {key: decoded(parts[0]).astype(int) for key, parts in record["layers"].items()}
    assert set(layers) == {"result", "map", "mask", "s0", "s1"}
    assert np.abs(layers["s0"] - near).mean() < 4 and np.abs(layers["result"] - near).mean() < 4
    inside = np.s_[8:-8, 200:-8]  # where the second shot is sharp
    assert np.abs(layers["s1"][inside] - 0.8 * textured_scene()[inside]).mean() < 8
    assert np.abs(far[inside] - 0.8 * textured_scene()[inside]).mean() > 15  # which it is not before it was moved
    np.testing.assert_array_equal(np.unique(layers["map"].reshape(-1, 3), axis=0), np.unique(shot_colors(2), axis=0))
    np.testing.assert_array_equal(layers["map"][5, 5], shot_colors(2)[0])


@pytest.mark.parametrize("kind", ["gray", "16 bits", "not registered"])
def test_every_kind_of_shot(kind):
    shots = two_shots(80, 96)
    if kind == "gray":
        shots = [shot[..., 0] for shot in shots]
    if kind == "16 bits":
        shots = [shot.astype(np.uint16) * 257 for shot in shots]
    fused = make_record(shots)
    if kind == "not registered":
        result = PhotoResult(shots[0], fused.sources, (None, None), (0.0, 1.0), fused.frame, device="NVIDIA H200")
        fused = make_record(shots, result=result, options=PhotoOptions(align="none"))
    page = make_page(fused, shots).decode()
    assert ("NVIDIA H200" in page) == (kind == "not registered")
    assert {"gray": "8 bits, gray", "16 bits": "16 bits, color"}.get(kind, "taken to be registered") in page
    assert ("Residual" in page.split("</table>")[0]) == (kind != "not registered")
    assert set(pairs_of(page)[0]["layers"]) == {"result", "map", "mask", "s0", "s1"}


def test_names_are_escaped_wherever_they_stand():
    names = [f"x/{NASTY}.png", "x/{{data}}.png"]
    weights = Weights(PARAMS, WEIGHTS.config, NASTY, NASTY)
    page = page_of(two_shots(60, 70), names=names, weights=weights)
    assert "<b>" not in page and str(escape("<!--")) in page and page.count("</script>") == 3
    data = data_of(page)
    assert data["shots"][1]["name"] == "{{data}}.png"
    bare = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"\b(src|href)\s*=\s*[\"'](?!#|data:)", bare) and not re.search(r"\sstyle=|\son\w+=", bare)
    assert "default-src 'none'" in page and "unsafe" not in page
    assert "{{" not in render(make_record(two_shots(60, 70)), [(1, 1)] * 2, [], WHEN)


def test_a_long_stack_fits_the_page():
    near, far = two_shots(200, 300)
    shots = [near, *[np.roll(far, number) for number in range(11)]]
    full, small = page_of(shots), page_of(shots, limit_bytes=200_000)
    assert len(small.encode()) < 200_000 < len(full.encode())
    assert pairs_of(small)[0]["whole"][0] < pairs_of(full)[0]["whole"][0] == 300
    assert set(pairs_of(full)[0]["layers"]) == {"result", "map", *[f"s{number}" for number in range(12)]}
    with pytest.raises(UserError, match=r"out.png: its report would take more than 0.1 MB with the pictures of 12"):
        page_of(shots, limit_bytes=60_000)


def test_shots_that_were_not_used_are_named_with_their_reasons():
    left_out = {"there/<c>.png": "it is the same picture as there/a.png",
                "there/a.png.tif": "to there/b.png: no overlap"}
    page = page_of(two_shots(60, 70), names=["there/a.png", "there/b.png"], left_out=left_out)
    shown = page.split("Not used:")[1].split("</ul>")[0]
    assert "<li>&lt;c&gt;.png: it is the same picture as a.png</li>" in shown and "there/" not in page
    assert "<li>a.png.tif: to b.png: no overlap</li>" in shown
    assert "Not used:" not in page_of(two_shots(60, 70))


def test_the_table_says_which_shot_each_was_registered_to():
    """The second of four shots was left out, so numbers among the shots as given are not those on the page."""
    near, far = two_shots(120, 160)
    record = make_record([near, far, far])
    registrations = (None, *(dataclasses.replace(record.registrations[1], neighbor=number) for number in (0, 2)))
    result = dataclasses.replace(record.result, registrations=registrations, used=(0, 2, 3))
    record = dataclasses.replace(record, result=result)
    page = make_page(record, [near, far, far]).decode()
    rows = page.split("<tbody>")[1].split("</tr>")
    assert "Registered to" in page and "<td>1 0.png</td>" in rows[1] and "<td>2 1.png</td>" in rows[2]
    assert "Registered to" not in page_of((near, far)) and "Bent" not in page
    page = make_page(dataclasses.replace(record, alignment="there/rig.json"), [near, far, far]).decode()
    assert "taken from rig.json" in page and "there/" not in page


def test_a_bent_map_is_told_and_shown():
    """Shot = reference, moved by a flow alone; the page shows it in place."""
    near, _ = two_shots(240, 320)
    shift = Flow(np.broadcast_to(np.array([6.0, 0.0]), (7, 9, 2)).copy(), (240, 320))
    moved = np.roll(near, 6, axis=1)
    record = make_record([near, moved], frame=(20, 30, 200, 260))
    one = dataclasses.replace(record.registrations[1], matrix=np.eye(3), flow=shift)
    record = dataclasses.replace(record, result=dataclasses.replace(record.result, registrations=(None, one)))
    page = make_page(record, [near, moved]).decode()
    assert "Bent" in page and "<td>6.00</td>" in page
    assert "so this one is bent by up to 6.00 px" in data_of(page)["shots"][1]["evidence"]
    layers = {key: decoded(parts[0]).astype(int) for key, parts in pairs_of(page)[0]["layers"].items()}
    assert np.abs(layers["s1"] - layers["s0"])[:, :-8].mean() < 1
    window = PlacedShot(moved, np.eye(3), shift, record.frame).warp_window(40, 50, 100, 80)
    np.testing.assert_array_equal(window, near[70:150, 70:170])

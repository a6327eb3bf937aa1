"""The report as a file of `edmf fuse`: written with the result or not at all, and what is refused."""

import cv2
import numpy as np
import pytest

from edmf_jax.cli import main
from edmf_jax.core.color import luma
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion import fuse as fusion_module
from edmf_jax.fusion import tiling
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.io.images import read_image, write_image
from edmf_jax.registration import transforms
from edmf_jax.reports.fusion_page import make_page
from tests.helpers.fusion_records import MATRIX, WEIGHTS, two_shots
from tests.helpers.reports import decoded, pairs_of


@pytest.fixture
def quick(monkeypatch):
    """No network: the mean of its planes; and shots that need no registration."""
    monkeypatch.setattr(tiling, "fuse_piece", lambda model, params, a, b, shape: (a + b) / 2)


@pytest.fixture
def folder(tmp_path):
    for name, shot in zip(("a.png", "b.png"), two_shots(120, 160)):
        write_image(tmp_path / name, shot)
    return tmp_path


def fuse_in(folder, **changes):
    arguments = {"out": folder / "out.png", "report": folder / "page.html", "weights": WEIGHTS, "align": "none",
                 "make_page": make_page}
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
    record = pairs_of((folder / "page.html").read_text(encoding="utf-8"))[0]
    assert record["id"] == "out.png" and (record["width"], record["height"]) == (160, 120)
    np.testing.assert_array_equal(read_image(folder / "out.png"), fused)
    shown = decoded(record["layers"]["result"][0])
    assert np.abs(luma(shown.astype(float)) - luma(fused.astype(float))).mean() < 3  # WebP halves the color's size
    map_there = cv2.cvtColor(cv2.imread(str(folder / "map.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(decoded(record["layers"]["map"][0]), map_there)
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png", "out.png", "map.png", "page.html"}


def test_the_paper_s_preset_has_a_page_too(folder, monkeypatch):
    monkeypatch.setattr(fusion_module, "fuse_as_published", lambda shots, names, weights: shots[0])
    fuse_in(folder, preset="paper", align=None)
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert set(pairs_of(page)[0]["layers"]) == {"result", "mask", "s0", "s1"}
    assert "paper: registered shots" in page and "stop" not in page.split("</table>")[1].split("</section>")[0]
    assert "Exposure" not in page.split("</table>")[0]


def test_what_is_wrong_with_the_page_s_name_is_found_before_the_work(folder, monkeypatch):
    monkeypatch.setattr(fusion_module.stack, "fuse_photos", None)
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
        fuse_files([folder / "a.png"] * 257, folder / "out.png", weights=WEIGHTS, make_page=make_page,
                   report=folder / "other.html")


def test_force_replaces_and_failure_writes_nothing(folder, quick, monkeypatch):
    (folder / "page.html").write_text("mine")
    fuse_in(folder, force=True)
    assert (folder / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    def fails(*_, **__):
        raise UserError("no page today")

    refused(folder, "no page today", force=True, make_page=fails, save_map=folder / "map.png", exposure="average")


def test_a_full_disk_leaves_the_old_page(folder, quick, tiny_files):
    (folder / "page.html").write_text("mine")
    with tiny_files(4096), pytest.raises(UserError, match=r"page\.html: cannot be written"):
        fuse_in(folder, force=True)
    assert (folder / "page.html").read_text() == "mine"
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png", "page.html"}


@pytest.mark.parametrize("batch", [["--pairs", "A", "B"], ["--stacks", "A"]])
def test_a_batch_writes_no_reports(tmp_path, capsys, batch):
    assert main.main(["fuse", *batch, "-o", str(tmp_path / "out"), "--report", "p.html"]) == 2
    error = capsys.readouterr().err
    assert "--report p.html: a batch writes no reports; fuse the shots one by one" in error and error.count("\n") == 1


def test_the_matching_points_come_back_in_the_pictures_own_pixels():
    near, far = two_shots(400, 520)
    found = fusion_module.stack.fuse_photos([near, far])
    one = found.registrations[1]
    assert one.points.shape == one.targets.shape == (one.inliers, 2) and one.inliers > 50
    assert np.ptp(one.points[:, 0]) > 300  # not the copy's
    apart = np.linalg.norm(transforms.project(MATRIX, one.points) - one.targets, axis=1)
    assert np.median(apart) < 1 and apart.max() < 6


def test_the_page_tells_which_shots_were_left_out_and_why(folder):
    write_image(folder / "c.png", read_image(folder / "a.png"))
    fuse_files([folder / f"{name}.png" for name in "acb"], folder / "out.png", align="none", make_page=make_page,
               save_map=folder / "map.png", report=folder / "page.html")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Not used:" in page and "<li>c.png: it is the same picture as a.png</li>" in page
    assert set(pairs_of(page)[0]["layers"]) == {"result", "map", "mask", "s0", "s1"}
    assert str(folder) not in page
    legend = (folder / "map.png").read_bytes()
    assert b"0 #0072b2 a.png; 1 #d55e00 b.png" in legend and b"c.png" not in legend

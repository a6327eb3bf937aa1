"""`evaluate`, from data set to tables: what it writes, what a second call repeats, and what it refuses."""

import csv
import hashlib
import json
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from edmf_jax.data.pairs import open_pairs
from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.errors import UserError
from edmf_jax.evaluation import evaluate as evaluation_module
from edmf_jax.evaluation import jobs, methods, provenance
from edmf_jax.evaluation.evaluate import evaluate
from edmf_jax.evaluation.scoring import encode
from edmf_jax.fusion import engine
from edmf_jax.io.images import read_image, write_image
from edmf_jax.methods.average import average
from edmf_jax.metrics import evaluate as evaluate_triple
from edmf_jax.metrics import evaluate_to_truth, rgb_to_gray
from edmf_jax.runtime.interrupt import Interrupted
from edmf_jax.runtime.lock import exclusive
from tests.helpers.evaluations import compile_lightly, quiet  # noqa: F401  (a fixture)
from tests.helpers.networks import PARAMS

EIGHT = ["EN", "MI", "SF", "VIF", "Qabf", "SSIM", "AG", "PSNR"]
TO_TRUTH = ["PSNR_truth", "SSIM_truth", "MS-SSIM_truth", "ΔE2000_truth"]
TINY = "edmf_synthetic/tiny"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    open_dataset(TINY, folder, log=quiet)
    return folder


@pytest.fixture(scope="module")
def scenes(data_dir):
    pairs = open_pairs(TINY, "test", data_dir=data_dir, log=quiet)
    return [pairs.decode(record) for record in pairs.records()]


@pytest.fixture
def folder(tmp_path, scenes):
    """A folder of pictures fused by another program."""
    path = tmp_path / "theirs"
    path.mkdir()
    for scene in scenes:
        write_image(path / f"fused_{int(scene.id):03}.png", scene.truth)
    return path


@pytest.fixture(scope="module")
def run(data_dir):
    def run(workdir, *chosen, log=quiet, **options):
        return evaluate(options.pop("dataset", TINY), chosen, workdir, data_dir=data_dir, log=log, **options)

    return run


def rows(workdir, slug):
    with open(workdir / slug / "scores.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_end_to_end(run, tmp_path, folder, scenes, data_dir):
    work, lines = tmp_path / "w", []
    summary = run(work, "average", "max-sf-pixelwise", f"folder:{folder}", log=lines.append)

    record = json.loads((work / "evaluation.json").read_text(encoding="utf-8"))
    assert record["dataset"] == TINY and record["split"] == "test" and record["count"] == 2
    assert record["ids"] == ["0", "1"]
    assert (record["gray"], record["tiling"], record["store"]) == (False, "whole", "png")
    assert [m["name"] for m in record["methods"]] == ["average", "max-sf-pixelwise", "theirs"]
    assert record["methods"][2]["slug"] == "theirs" and record["methods"][2]["spec"] == f"folder:{folder}"
    assert [m["name"] for m in record["metrics"]] == EIGHT + TO_TRUTH
    assert record["metrics"][-1]["better"] == "lower" and record["metrics"][7]["unit"] == "dB"
    assert record["opened"] == {"source": None, "patterns": None, "data_dir": os.path.abspath(data_dir)}
    assert "jax" in record["versions"] and record["commands"][0].startswith(f"edmf evaluate --dataset {TINY}")
    assert "--metrics" not in record["commands"][0]

    scene, row = scenes[1], rows(work, "average")[1]
    assert list(row) == ["id", *EIGHT, *TO_TRUTH] and row["id"] == "1"
    fused = average(scene.a, scene.b)
    np.testing.assert_array_equal(read_image(work / "average" / "fused" / "1.png"), fused)
    expected = evaluate_triple(*map(rgb_to_gray, (scene.a, scene.b, fused)))
    expected |= {f"{k}_truth": v for k, v in evaluate_to_truth(fused, scene.truth).items()}
    np.testing.assert_equal({k: float(v) for k, v in row.items() if k != "id"}, expected)

    assert rows(work, "theirs")[0]["PSNR_truth"] == "inf" and rows(work, "theirs")[0]["MS-SSIM_truth"] == "nan"
    assert summary.left_out["PSNR_truth"] == ("0", "1") and summary.left_out["EN"] == ()
    assert summary.rank({"name": "SSIM_truth", "better": "higher"})["theirs"] == 0
    page = (work / "summary.md").read_text(encoding="utf-8")
    assert "| average | " in page and "Left out of PSNR_truth, MS-SSIM_truth" in page
    assert "average & " in (work / "summary.tex").read_text(encoding="utf-8")
    assert json.loads((work / "summary.json").read_text(encoding="utf-8"))["methods"][0]["name"] == "average"
    assert any("average: " in line and "s to fuse a picture" in line for line in lines)


def test_all_rows_in_one_file_with_the_digests_of_the_pictures(run, tmp_path):
    work, table = tmp_path / "w", tmp_path / "new" / "table.csv"
    run(work, "average", "max-sf", csv=table, limit=1)
    run(work, "average", csv=table)  # max-sf lacks the second pair from now on
    with table.open(encoding="utf-8", newline="") as file:
        header, *found = csv.reader(file)
    assert header == ["method", "pair", "sha256", *EIGHT, *TO_TRUTH]
    assert [row[:2] for row in found] == [["average", "0"], ["average", "1"], ["max-sf", "0"]]
    for method, pair, digest, *values in found:
        picture = (work / method / "fused" / f"{pair}.png").read_bytes()
        assert digest == hashlib.sha256(picture).hexdigest()
        assert values == list(rows(work, method)[int(pair)].values())[1:]
    (work / "average" / "fused" / "1.png").unlink()
    with pytest.raises(UserError, match="the picture of pair 1 is gone"):
        run(work, "average", csv=table)
    foreign = tmp_path / "notes.csv"
    foreign.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"--csv .*notes\.csv: already there, and not a table of this command"):
        run(work, "average", csv=foreign)


def test_gray_pictures_stored_as_jpeg_are_scored_as_stored(run, tmp_path, scenes, folder):
    run(tmp_path / "w", "average", f"folder:{folder}", gray=True, store="jpeg75", limit=1)
    a, b = rgb_to_gray(scenes[0].a), rgb_to_gray(scenes[0].b)
    stored = read_image(tmp_path / "w" / "average" / "fused" / "0.jpg")
    assert stored.ndim == 2 and 0 < np.abs(stored.astype(int) - average(a, b)).mean() < 4
    row = rows(tmp_path / "w", "average")[0]
    assert {k: float(row[k]) for k in EIGHT} == evaluate_triple(a, b, stored)
    assert "ΔE2000_truth" not in row
    # Another program's lossless pictures are stored in the same way, its JPEG files are not compressed twice.
    assert (tmp_path / "w" / "theirs" / "fused" / "0.jpg").is_file()
    for path in folder.iterdir():
        path.with_suffix(".jpg").write_bytes(encode(scenes[0].truth, "jpeg75"))
        path.unlink()
    run(tmp_path / "jpeg", f"folder:{folder}", gray=True, store="jpeg75", limit=1)
    theirs = read_image(tmp_path / "jpeg" / "theirs" / "fused" / "0.png")
    np.testing.assert_array_equal(theirs, rgb_to_gray(read_image(folder / "fused_000.jpg")))


@pytest.fixture
def counted(monkeypatch):
    """How often `average` fused."""
    calls = []

    def fuse(a, b):
        calls.append(a.shape)
        return average(a, b)

    monkeypatch.setattr("edmf_jax.methods.average.average", fuse)
    return calls


def test_resumed_after_a_torn_row_equals_uninterrupted(run, tmp_path, counted):
    work = tmp_path / "w"
    run(work, "average")
    before = {path.name: path.read_bytes() for path in [work / "average/scores.csv", *work.glob("summary.*")]}
    torn = before["scores.csv"]
    (work / "average" / "scores.csv").write_bytes(torn[:-20])
    lines = []
    run(work, "average", log=lines.append)
    assert len(counted) == 2 + 1
    assert "1 of 2 pictures are scored already: continuing with the other 1" in lines
    assert {path.name: path.read_bytes() for path in [work / "average/scores.csv", *work.glob("summary.*")]} == before
    run(work, "average")
    assert len(counted) == 3


def test_resumed_after_an_upgrade_old_rows_are_not_said_to_be_of_the_new_version(run, tmp_path, monkeypatch):
    run(tmp_path, "average", "max-sf", limit=1)
    now = provenance.evaluation_versions()
    monkeypatch.setattr(evaluation_module, "evaluation_versions", lambda: now | {"opencv": "99.9"})
    run(tmp_path, "average")
    made = {"average": [{"versions": now, "ids": ["0"]}, {"versions": now | {"opencv": "99.9"}}],
            "max-sf": [{"versions": now}]}
    record = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert {entry["name"]: entry["made_by"] for entry in record["methods"]} == made
    sentence = f"average: 1 pair by opencv {now['opencv']}, then 1 pair by opencv 99.9."
    assert sentence in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert sentence in " ".join((tmp_path / "summary.tex").read_text(encoding="utf-8").replace("%", "").split())
    (method,) = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["methods"]
    assert [(m["versions"]["opencv"], m["pairs"]) for m in method["made_by"]] == [(now["opencv"], 1), ("99.9", 1)]


def test_a_second_process_is_told_who_is_evaluating(run, tmp_path):
    work = tmp_path / "w"
    work.mkdir()
    with exclusive(work), pytest.raises(UserError, match=f"--workdir={work} is in use by process {os.getpid()} on "):
        run(work, "average")
    assert not (work / "evaluation.json").exists()


def test_the_time_of_a_picture_ends_when_its_pixels_are_there(run, tmp_path, monkeypatch):
    """A device returns before it has computed; the time must not be that of the call alone."""
    events = []

    class Pending:
        def __init__(self, pixels):
            self.pixels = pixels

        def __array__(self, dtype=None, copy=None):
            events.append("computed")
            return self.pixels

    def clock():
        events.append("clock")
        return float(len(events))

    monkeypatch.setattr("edmf_jax.methods.average.average", lambda a, b: Pending(average(a, b)))
    monkeypatch.setattr(jobs, "time", SimpleNamespace(perf_counter=clock))
    run(tmp_path, "average", limit=1)
    first = events.index("computed")
    assert events[first - 1 : first + 2] == ["clock", "computed", "clock"]


def test_methods_and_pairs_are_added(run, tmp_path, counted):
    work = tmp_path / "w"
    run(work, "average", limit=1)
    summary = run(work, "max-sf", limit=1)
    assert [entry["name"] for entry in summary.methods] == ["average", "max-sf"] and len(counted) == 1
    summary = run(work, "max-sf")
    assert [entry["name"] for entry in summary.methods] == ["max-sf"] and summary.unfinished == ("average",)
    assert "pairs are still to be scored: average" in (work / "summary.md").read_text(encoding="utf-8")
    assert run(work, "average").pairs["EN"] == 2 and len(counted) == 2
    assert len(json.loads((work / "evaluation.json").read_text(encoding="utf-8"))["commands"]) == 4
    with pytest.raises(UserError, match="2 pairs there, 1 or others here"):
        run(work, "average", limit=1)


def test_other_settings_in_the_same_folder_are_refused(run, tmp_path):
    run(tmp_path, "average", limit=1)
    with pytest.raises(UserError, match=r"gray=false there, true here.*choose another folder"):
        run(tmp_path, "average", limit=1, gray=True)


def test_other_metrics_are_columns_and_can_not_change_in_a_folder(run, tmp_path, scenes):
    summary = run(tmp_path, "average", limit=1, metrics=["sd", "CC"])
    names = ["CC", "SD", *TO_TRUTH]
    assert [m["name"] for m in summary.metrics] == names
    row = rows(tmp_path, "average")[0]
    assert list(row) == ["id", *names]
    fused = rgb_to_gray(average(scenes[0].a, scenes[0].b))
    assert float(row["SD"]) == pytest.approx(fused.std(), rel=1e-6)
    command = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["commands"][0]
    assert " --metrics sd CC --" in command
    assert run(tmp_path, "average", limit=1, metrics=("CC", "SD")).pairs["CC"] == 1  # the same columns
    with pytest.raises(UserError, match=r"metrics CC SD .* there, EN MI .* here\); choose another folder"):
        run(tmp_path, "average", limit=1)


def test_a_missing_picture_is_named_and_left_out_only_when_told_to(run, tmp_path, folder):
    (folder / "fused_001.png").unlink()
    spec, work, lines = f"folder:{folder}", tmp_path / "w", []
    with pytest.raises(UserError, match=r"has no picture of 1 of 2 pairs: 1; .*--allow-missing"):
        run(work, "average", spec)
    assert not work.exists()
    summary = run(work, "average", spec, allow_missing=True, log=lines.append)
    assert summary.left_out["EN"] == ("1",) and any("has no picture of 1 of 2 pairs: 1" in line for line in lines)
    assert [row["id"] for row in rows(work, "theirs")] == ["0"] and len(rows(work, "average")) == 2
    assert run(work, "max-sf").unfinished == ()  # known to be missing


def test_a_picture_of_another_size_is_named_and_can_be_mended(run, tmp_path, folder, scenes):
    write_image(folder / "fused_001.png", scenes[1].truth[1:])
    with pytest.raises(UserError, match=r"fused_001\.png: 81×96 px, but the sources of pair 1 have 81×97 px"):
        run(tmp_path / "w", "average", f"folder:{folder}")
    assert len(rows(tmp_path / "w", "average")) == 2  # what was done is kept
    write_image(folder / "fused_001.png", scenes[1].truth)
    assert run(tmp_path / "w", "average", f"folder:{folder}").pairs["EN"] == 2


def test_a_picture_changed_after_it_was_scored_is_named(run, tmp_path, folder):
    run(tmp_path / "w", f"folder:{folder}")
    later = os.stat(tmp_path / "w" / "theirs" / "fused" / "0.png").st_mtime + 5
    os.utime(folder / "fused_000.png", (later, later))
    with pytest.raises(UserError, match=r"fused_000\.png was changed after it was scored; delete .*theirs"):
        run(tmp_path / "w", f"folder:{folder}")
    shutil.rmtree(tmp_path / "w" / "theirs")
    assert run(tmp_path / "w", f"folder:{folder}").pairs["EN"] == 2


def test_a_signal_stops_it_between_pictures(run, tmp_path, monkeypatch):
    def fuse(a, b):
        os.kill(os.getpid(), signal.SIGTERM)
        return average(a, b)

    with monkeypatch.context() as patch:
        patch.setattr("edmf_jax.methods.average.average", fuse)
        with pytest.raises(Interrupted, match="stopped; 1 of 2 pictures are scored; the same command continues"):
            run(tmp_path, "average")
    assert len(rows(tmp_path, "average")) == 1 and not (tmp_path / "summary.md").exists()
    assert run(tmp_path, "average").pairs["EN"] == 2


def test_weights_see_the_whole_picture_or_too_small_ones_are_named(run, tmp_path, monkeypatch, scenes):
    seen = []

    def fuse_levels(model, params, a, b, tiling):
        seen.append(tiling)
        return average(a, b)

    from edmf_jax.weights.store import save_weights

    save_weights(tmp_path / "net", PARAMS, {"model": {"width": 2, "dtype": "float32"}})
    with pytest.raises(UserError, match=r"net, pair 0: .* at least 128×128 px"):
        run(tmp_path / "tiles", str(tmp_path / "net"), tiling="mufusion")
    monkeypatch.setattr(methods, "fuse_levels", fuse_levels)
    run(tmp_path / "w", str(tmp_path / "net"))
    assert seen == ["whole", "whole"]
    monkeypatch.undo()
    # Trained on since: not the weights that were scored.
    save_weights(tmp_path / "net", {**PARAMS, "conv1": {k: 2 * v for k, v in PARAMS["conv1"].items()}},
                 {"model": {"width": 2, "dtype": "float32"}}, force=True)
    with pytest.raises(UserError, match=r"method net: sha256 .* there, .* here"):
        run(tmp_path / "w", str(tmp_path / "net"))


def test_an_accelerator_fuses_several_pictures_at_once(run, tmp_path, monkeypatch):
    """As many as there are; a picture that it refuses is named; one that is scored already is not fused again."""
    from edmf_jax.weights.store import save_weights

    save_weights(tmp_path / "net", PARAMS, {"model": {"width": 2, "dtype": "float32"}})
    monkeypatch.setattr(engine, "pieces_at_once", lambda: 3)
    with pytest.raises(UserError, match=r"net, pair 0: .* at least 128×128 px"):
        run(tmp_path / "tiles", str(tmp_path / "net"), tiling="mufusion")
    groups = []

    def fuse_levels_of(pairs, model, params, tiling):
        groups.append(len(pairs))
        return [average(a, b) for a, b in pairs]

    monkeypatch.setattr(methods, "fuse_levels_of", fuse_levels_of)
    run(tmp_path / "w", str(tmp_path / "net"), "average")
    assert groups == [2]
    assert rows(tmp_path / "w", "net") == rows(tmp_path / "w", "average")
    monkeypatch.setattr(methods, "fuse_levels", lambda _, __, a, b, tiling: groups.append("alone") or average(a, b))
    run(tmp_path / "v", str(tmp_path / "net"), limit=1)
    assert groups == [2, "alone"]


def test_pictures_that_are_fused_together_are_few_and_small(scenes):
    groups = list(jobs._groups(scenes * 10, 8))
    assert [len(group) for group in groups] == [8, 8, 4]
    large = SimpleNamespace(a=np.broadcast_to(np.uint8(0), (3000, 4000, 3)))
    assert [len(group) for group in jobs._groups([large, *scenes * 2, large, large], 8)] == [5, 1, 1]


@pytest.mark.parametrize(("options", "words"), [
    ({"split": "validation"}, "--split=validation: edmf_synthetic/tiny has test, train"),
    ({"limit": 0}, "--limit=0: at least one pair is needed"),
    ({"tiling": "halves"}, "--tiling=halves is unknown; use one of whole, mufusion"),
    ({"metrics": ["EN", "Q_C"]}, r"--metrics Q_C is unknown \(did you mean Q_CB\?\); use table2, all or"),
    ({"store": "gif"}, "--store=gif is unknown; use one of png, jpeg75"),
    ({"dataset": "edmff"}, "name='edmff' is no data set of ours"),
])
def test_mistakes_are_one_line(run, tmp_path, options, words):
    with pytest.raises(UserError, match=words) as caught:
        run(tmp_path / "w", "average", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "w").exists()

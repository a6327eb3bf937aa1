"""The commands `edmf metrics` and `edmf evaluate`: what they print, and nothing else."""

import json

import numpy as np
import pytest

from edmf_jax import metrics
from edmf_jax.cli.options import FURTHER
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.evaluation.scoring import choose_metrics, metric_columns
from edmf_jax.evaluation.summary import summarize
from edmf_jax.io.images import write_image
from edmf_jax.metrics import evaluate, evaluate_to_truth
from edmf_jax.metrics import rgb_to_gray as gray
from tests.helpers.evaluations import command, compile_lightly  # noqa: F401  (a fixture)
from tests.helpers.scores import make_record, make_scores

EIGHT = ["EN", "MI", "SF", "VIF", "Qabf", "SSIM", "AG", "PSNR"]


@pytest.fixture
def files(tmp_path):
    """Two sources, fused, truth: 96 × 80 px in color, and their paths."""
    pictures = np.random.default_rng(3).integers(0, 256, (4, 96, 80, 3), np.uint8)
    paths = [tmp_path / f"{name}.png" for name in ("a", "b", "fused", "truth")]
    for path, picture in zip(paths, pictures):
        write_image(path, picture)
    return pictures, paths


def test_json_is_one_object_in_full_precision_and_nothing_else(files, capsys):
    pictures, paths = files
    command("metrics", *paths[:3], "--json")
    out, err = capsys.readouterr()
    values = json.loads(out)
    assert list(values) == EIGHT and err == ""
    assert values == evaluate(*map(gray, pictures[:3]))


def test_json_with_a_truth_has_null_for_what_is_infinite_or_undefined(files, capsys):
    pictures, (a, b, fused, truth) = files
    command("metrics", a, b, fused, "--truth", truth, "--json")
    values = json.loads(capsys.readouterr().out)
    expected = {f"{k}_truth": v for k, v in evaluate_to_truth(pictures[2], pictures[3]).items()}
    assert list(values) == [*EIGHT, *expected]
    assert values["PSNR_truth"] == expected["PSNR_truth"]
    assert values["MS-SSIM_truth"] is None  # needs 176 px
    command("metrics", fused, fused, fused, "--truth", fused, "--json")
    values = json.loads(capsys.readouterr().out)
    assert values["PSNR"] is None and values["PSNR_truth"] is None and values["SSIM"] == pytest.approx(1)


def test_table_has_a_line_for_each_metric(files, capsys):
    pictures, paths = files
    command("metrics", *paths[:3])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == EIGHT
    assert float(lines[0].split()[1]) == pytest.approx(evaluate(*map(gray, pictures[:3]))["EN"], abs=1e-4)
    assert lines[7].endswith("↑ dB")


@pytest.mark.parametrize(("words", "names"), [
    (["table2"], EIGHT),
    (["all"], [*EIGHT, *FURTHER]),
    (["sd", "Q_y", "SD", "en"], ["EN", "Q_Y", "SD"]),
    (["MEF-ssim", "TABLE2"], [*EIGHT, "MEF-SSIM"]),
])
def test_metrics_are_chosen_by_name_or_group_in_one_order(words, names):
    assert [m.name for m in choose_metrics(words)] == names
    assert [c["name"] for c in metric_columns(truth=True, color=False, metrics=words)] == [
        *names, "PSNR_truth", "SSIM_truth", "MS-SSIM_truth"]


def test_the_help_names_every_further_metric():
    assert tuple(m.name for m in metrics.FURTHER) == FURTHER


def test_named_metrics_alone_are_printed_beside_those_to_the_truth(files, capsys):
    pictures, (a, b, fused, truth) = files
    command("metrics", a, b, fused, "--metrics", "sd", "CC", "--json")
    values = json.loads(capsys.readouterr().out)
    assert list(values) == ["CC", "SD"]
    assert values["SD"] == pytest.approx(gray(pictures[2]).std(), rel=1e-6)
    command("metrics", a, b, fused, "--truth", truth, "--metrics", "SD")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["SD", "PSNR_truth", "SSIM_truth", "MS-SSIM_truth", "ΔE2000_truth"]
    assert lines[0].endswith("↑ gray level")


@pytest.mark.parametrize(("word", "hint"), [("qp", "Q_P"), ("Mef-Sim", "MEF-SSIM"),
                                             ("tabel2", "table2"), ("al", "all")])
def test_a_mistyped_metric_is_one_line_with_the_nearest(files, word, hint):
    with pytest.raises(UserError, match=rf"^--metrics {word} is unknown \(did you mean {hint}\?\); use table2,"):
        command("metrics", *files[1][:2], "nowhere.png", "--metrics", word)


def test_no_metric_like_it_or_none_at_all():
    with pytest.raises(UserError, match=r"^--metrics brightness is unknown; use table2, all or any of EN, MI, .*, SD$"):
        choose_metrics(["EN", "brightness"])
    with pytest.raises(UserError, match="--metrics: none given; use table2"):
        choose_metrics([])


def test_16_bits_are_scored_as_8(files, capsys):
    pictures, paths = files
    command("metrics", *paths[:3], "--json")
    expected = capsys.readouterr().out
    for path, picture in zip(paths, pictures):
        write_image(path, picture.astype(np.uint16) * 257)
    command("metrics", *paths[:3], "--json")
    assert capsys.readouterr().out == expected


def test_files_that_do_not_fit_are_named(files):
    pictures, (a, b, fused, _) = files
    write_image(fused, pictures[2][:, 1:])
    with pytest.raises(UserError, match=r"fused\.png: 79×96 px, but .*a\.png has 80×96 px; give pictures of one size"):
        command("metrics", a, b, fused)
    with pytest.raises(MissingFileError, match="nowhere"):
        command("metrics", a, b, "nowhere.png")


def test_evaluate_hands_its_arguments_on(monkeypatch, capsys):
    from edmf_jax.evaluation import evaluate as module

    seen = []

    def fake(*args, **options):
        seen.append((args, options))
        return summarize(make_record(["a", "b"]), make_scores({"a": 1, "b": 2}))

    monkeypatch.setattr(module, "evaluate", fake)
    command("evaluate", "--dataset", "edmf", "--method", "average", "max-sf", "--method", "folder:x", "--workdir", "w")
    assert seen[0][0] == ("edmf", ["average", "max-sf", "folder:x"], "w")
    assert seen[0][1] == {"source": None, "split": "test", "tiling": "whole", "store": "png", "gray": False,
                          "metrics": ["table2"], "limit": None, "every": 1, "data_dir": None, "patterns": None,
                          "allow_missing": False, "exposures": None, "truth_at": None, "rim_px": 0,
                          "as_published": False, "csv": None}
    command("evaluate", "--dataset", "image_pairs", "--method", "m", "--workdir", "w", "--source", "s", "--gray",
            "--tiling", "mufusion", "--store", "jpeg75", "--limit", "3", "--pattern-a", "a", "--pattern-b", "b",
            "--metrics", "table2", "Q_P", "--exposures", "quarter-stop", "--every", "5",
            "--truth-at", "reference", "--rim-px", "8")
    given = {"limit": 3, "every": 5, "gray": True, "tiling": "mufusion", "store": "jpeg75",
             "metrics": ["table2", "Q_P"], "exposures": "quarter-stop", "truth_at": "reference", "rim_px": 8}
    assert seen[1][1] | given == seen[1][1]
    assert seen[1][1]["patterns"] == {"a": "a", "b": "b", "truth": None}
    out = capsys.readouterr().out
    assert out.startswith("| Method | EN ↑ |") and "| b | **2.0" in out


def test_unknown_choices_are_refused(capsys):
    with pytest.raises(SystemExit):
        command("evaluate", "--dataset", "edmf", "--method", "m", "--workdir", "w", "--tiling", "halves")
    assert "invalid choice: 'halves'" in capsys.readouterr().err

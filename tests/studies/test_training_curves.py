"""The training curves: what is logged, where it is drawn, and that thinned logs give the same picture."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from studies import training_curves as curves
from tests.helpers.files import ROOT


def write_run(folder, number, steps, weight):
    run = folder / str(number)
    run.mkdir()
    rows = [{"step": step, "epoch": 1, "current_pixel": 0.1 / weight, "current_grad": 0.01, "current_ssim": 1.0,
             "loss": 2.0} for step in range(10, steps + 1, 10)]
    rows.append({"step": steps, "epoch": 1, "event": "epoch_end", "admitted": number == 2, "sharpness": 0.05 * number,
                 "seconds": 3.0})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loss = {"pixel_weight": weight, "grad_weight": 1.0, "ssim_weight": 10.0}
    (run / "run.json").write_text(json.dumps({"config": {"loss": loss}}))


def test_runs_follow_each_other_and_parts_are_weighed(tmp_path):
    write_run(tmp_path, 1, 50, 1.0)
    write_run(tmp_path, 2, 30, 7.0)
    runs = curves.read_runs(tmp_path)
    lines, dots, starts = curves.series(runs)
    assert starts == [0, 50, 80]
    assert dots == [(50, 0.05, False), (80, 0.1, True)]
    for (_, points), level in zip(lines, [-1, -2, 1] * 2):
        assert [value for _, value in points] == pytest.approx([level] * len(points))
    assert lines[3][1][0][0] == 60  # the second run's first logged step
    drawing = ElementTree.fromstring(curves.draw(runs))
    names = [element.tag.split("}")[1] for element in drawing.iter()]
    assert (names.count("polyline"), names.count("circle")) == (6, 2)


def test_a_single_jump_is_no_curve():
    assert curves.running_medians([1.0, 1.0, 9.0, 1.0, 1.0]) == [1.0] * 5
    with pytest.raises(FileNotFoundError):
        curves.read_runs(curves.Path("no-such-folder"))


def test_thinned_logs_give_the_same_picture(tmp_path):
    write_run(tmp_path, 1, 50, 1.0)
    log = tmp_path / "1" / "metrics.jsonl"
    log.write_text(log.read_text() + json.dumps({"step": 50, "event": "diverged", "loss": 9.0, "patches": [1]}) + "\n")
    before = curves.draw(curves.read_runs(tmp_path))
    curves.main(["--thin", str(log)])
    assert curves.read_records(log)[0] == {"step": 10, "current_pixel": 0.1, "current_grad": 0.01, "current_ssim": 1.0}
    assert curves.read_records(log)[-1] == {"step": 50, "event": "epoch_end", "sharpness": 0.05, "admitted": False}
    curves.main([str(tmp_path), "-o", str(tmp_path / "curves.svg")])
    assert (tmp_path / "curves.svg").read_text() == before


def test_published_logs_are_thin_and_give_the_published_picture():
    for log in (ROOT / "results").rglob("metrics.jsonl"):
        records = curves.read_records(log)
        assert records == curves.thin(records), log
    drawn = curves.draw(curves.read_runs(ROOT / "results" / "edmf"))
    assert drawn == (ROOT / "results" / "edmf" / "curves.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [[], ["folder"], ["folder", "-o", "x.svg", "--thin", "log"]])
def test_one_thing_at_a_time(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        curves.main(words)
    assert "give a folder of runs and --output FILE, or --thin FILE" in capsys.readouterr().err

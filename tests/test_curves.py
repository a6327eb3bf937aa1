"""The picture of the training curves: what is logged, where it is drawn."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks import curves


def write_run(folder, number, steps, weight):
    run = folder / str(number)
    run.mkdir()
    rows = [{"step": step, "current_pixel": 0.1 / weight, "current_grad": 0.01, "current_ssim": 1.0}
            for step in range(10, steps + 1, 10)]
    rows.append({"step": steps, "event": "epoch_end", "sharpness": 0.05 * number, "admitted": number == 2})
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
    assert curves.medians([1.0, 1.0, 9.0, 1.0, 1.0]) == [1.0] * 5
    with pytest.raises(FileNotFoundError):
        curves.read_runs(curves.Path("no-such-folder"))

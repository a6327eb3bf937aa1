"""The work folder: rows survive a killed process, and other settings are refused in one line."""

import json
import math
import os

import pytest

from edmf_jax.errors import UserError
from edmf_jax.evaluation.store import ScoreStore, open_evaluation, read_evaluation, to_json

COLUMNS = ["EN", "PSNR"]


def make_record(**changes):
    record = {"dataset": "edmf/table2", "split": "test", "data_bytes": 5, "gray": False, "tiling": "whole",
              "store": "png", "count": 2, "ids": ["1", "2"], "metrics": [{"name": name} for name in COLUMNS],
              "methods": [{"name": "net", "slug": "net", "spec": "weights/net", "missing": [], "sha256": "ab"}],
              "versions": {}}
    return record | changes


def test_rows_come_back_exactly(tmp_path):
    scores = ScoreStore(tmp_path, COLUMNS)
    scores.add("1", {"EN": 0.1 + 0.2, "PSNR": math.inf})
    scores.add("a,b", {"EN": -1e-17})
    assert scores.path.read_text() == 'id,EN,PSNR\n1,0.30000000000000004,inf\n"a,b",-1e-17,nan\n'
    again = ScoreStore(tmp_path, COLUMNS).rows
    assert again["1"] == {"EN": 0.1 + 0.2, "PSNR": math.inf}
    assert again["a,b"]["EN"] == -1e-17 and math.isnan(again["a,b"]["PSNR"])


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_a_half_written_row_is_dropped(tmp_path, cut):
    scores = ScoreStore(tmp_path, COLUMNS)
    scores.add("1", {"EN": 1, "PSNR": 2})
    scores.add("2", {"EN": 3, "PSNR": 40})
    whole = scores.path.read_bytes()
    scores.path.write_bytes(whole[:-cut])
    resumed = ScoreStore(tmp_path, COLUMNS)
    assert list(resumed.rows) == ["1"]
    resumed.add("2", {"EN": 3, "PSNR": 40})
    assert scores.path.read_bytes() == whole


def test_a_half_written_header_is_written_again(tmp_path):
    path = ScoreStore(tmp_path, COLUMNS).path
    path.write_text("id,EN")
    ScoreStore(tmp_path, COLUMNS).add("1", {"EN": 1, "PSNR": 2})
    assert path.read_text() == "id,EN,PSNR\n1,1.0,2.0\n"


@pytest.mark.parametrize(("text", "words"), [("id,EN\n1,2\n", "has other columns than id,EN,PSNR"),
                                             ("id,EN,PSNR\n1,2\n3,4,5\n", "is damaged at '1,2'"),
                                             ("id,EN,PSNR\n1,2,x\n", "is damaged at '1,2,x'")])
def test_damaged_scores_are_refused(tmp_path, text, words):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        ScoreStore(tmp_path, COLUMNS)


def test_a_folder_is_taken_up_again(tmp_path):
    open_evaluation(tmp_path / "w", make_record(), "first")
    new = {"name": "new", "slug": "new", "spec": "x", "missing": []}
    more = make_record(count=3, ids=["1", "2", "3"], methods=[new])
    record = open_evaluation(tmp_path / "w", more, "second")
    assert [entry["name"] for entry in record["methods"]] == ["net", "new"]
    assert record["ids"] == ["1", "2", "3"] and record["commands"] == ["first", "second"]
    assert open_evaluation(tmp_path / "w", more, "second") == record == read_evaluation(tmp_path / "w")
    assert os.stat(tmp_path / "w" / "evaluation.json").st_mode & 0o044  # others may read it


@pytest.mark.parametrize(("changes", "words"), [
    ({"tiling": "mufusion", "gray": True}, 'gray=false there, true here; tiling="whole" there, "mufusion" here'),
    ({"store": "jpeg75"}, 'store="png" there, "jpeg75" here'),
    ({"data_bytes": 6}, "data_bytes=5 there, 6 here"),
    ({"count": 1, "ids": ["1"]}, "2 pairs there, 1 or others here"),
    ({"metrics": [{"name": "EN"}]}, "metrics EN PSNR there, EN here"),
    ({"methods": [{"name": "net", "slug": "net", "spec": "weights/net", "sha256": "cd"}]},
     "method net: sha256 ab there, cd here"),
])
def test_other_settings_are_named(tmp_path, changes, words):
    open_evaluation(tmp_path, make_record(), "first")
    before = (tmp_path / "evaluation.json").read_bytes()
    with pytest.raises(UserError, match=r"holds another evaluation .*choose another folder") as caught:
        open_evaluation(tmp_path, make_record(**changes), "second")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "evaluation.json").read_bytes() == before


def test_what_cannot_be_read_or_written_is_one_line(tmp_path):
    (tmp_path / "evaluation.json").write_text('{"dataset"')
    with pytest.raises(UserError, match=r"evaluation\.json is damaged .* choose another --workdir"):
        read_evaluation(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/w: cannot be written"):
        open_evaluation(tmp_path / "file" / "w", make_record(), "first")


def test_json_has_null_for_what_is_no_number():
    text = to_json({"a": math.inf, "b": [math.nan, 1.5], "ΔE": -math.inf})
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "ΔE": None} and "ΔE" in text

"""The work folder: rows survive a killed process, and other settings are refused in one line."""

import json
import math
import os

import pytest

from edmf_jax.errors import UserError
from edmf_jax.evaluation.provenance import Stretch, describe_versions, made_by_of, stretches
from edmf_jax.evaluation.store import ScoreStore, open_evaluation, read_evaluation, work_folder
from edmf_jax.io.json_text import to_json

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
    ({"digests": ["a", "c"]}, "other pictures of 1 pairs, 2"),
    ({"metrics": [{"name": "EN"}]}, "metrics EN PSNR there, EN here"),
    ({"methods": [{"name": "net", "slug": "net", "spec": "weights/net", "sha256": "cd"}]},
     "method net: sha256 ab there, cd here"),
])
def test_other_settings_are_named(tmp_path, changes, words):
    open_evaluation(tmp_path, make_record(digests=["a", "b"]), "first")
    before = (tmp_path / "evaluation.json").read_bytes()
    with pytest.raises(UserError, match=r"holds another evaluation .*choose another folder") as caught:
        open_evaluation(tmp_path, make_record(**changes), "second")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "evaluation.json").read_bytes() == before


OLD, NEW = {"jax": "1.0", "opencv": "4.10"}, {"jax": "1.0", "opencv": "5.0"}


def score(folder, *ids):
    for pair_id in ids:
        ScoreStore(folder / "net", COLUMNS).add(pair_id, {})


def made_by(folder, record):
    entry = record["methods"][0]
    return [(s.versions["opencv"], s.ids) for s in stretches(made_by_of(entry, record),
                                                            ScoreStore(folder / "net", COLUMNS).rows)]


def test_old_rows_stay_those_of_the_version_that_made_them(tmp_path):
    open_evaluation(tmp_path, make_record(versions=OLD), "first")
    score(tmp_path, "1")
    record = open_evaluation(tmp_path, make_record(versions=NEW), "first")
    assert made_by(tmp_path, record) == [("4.10", ("1",))]  # so far
    score(tmp_path, "2")
    assert made_by(tmp_path, record) == [("4.10", ("1",)), ("5.0", ("2",))]
    again = open_evaluation(tmp_path, make_record(versions=NEW), "first")
    assert again == record and record["versions"] == OLD
    third = open_evaluation(tmp_path, make_record(versions=OLD), "first")  # everything is scored already
    assert made_by(tmp_path, third) == [("4.10", ("1",)), ("5.0", ("2",))]


def test_a_row_that_is_scored_again_belongs_to_the_version_that_did(tmp_path):
    open_evaluation(tmp_path, make_record(versions=OLD), "first")
    score(tmp_path, "1", "2")
    open_evaluation(tmp_path, make_record(versions=NEW), "first")
    path = tmp_path / "net" / "scores.csv"
    path.write_text(path.read_text().replace("1,nan,nan\n", ""))
    record = open_evaluation(tmp_path, make_record(versions=NEW), "first")
    score(tmp_path, "1")
    assert made_by(tmp_path, record) == [("4.10", ("2",)), ("5.0", ("1",))]
    path.unlink()
    record = open_evaluation(tmp_path, make_record(versions=NEW), "first")
    assert record["methods"][0]["made_by"] == [{"versions": NEW}]


def test_a_folder_from_before_versions_were_kept_by_rows_opens(tmp_path):
    record = make_record(versions=OLD, commands=["first"])
    (tmp_path / "evaluation.json").write_text(to_json(record))
    score(tmp_path, "1")
    assert made_by(tmp_path, read_evaluation(tmp_path)) == [("4.10", ("1",))]
    new = {"name": "new", "slug": "new", "spec": "x", "missing": []}
    record = open_evaluation(tmp_path, make_record(versions=NEW, methods=[new], digests=["a", "b"]), "second")
    assert [entry["made_by"] for entry in record["methods"]] == [[{"versions": OLD}], [{"versions": NEW}]]
    record = open_evaluation(tmp_path, make_record(versions=NEW), "first")
    score(tmp_path, "2")
    assert made_by(tmp_path, record) == [("4.10", ("1",)), ("5.0", ("2",))]


def test_the_sentence_names_what_differs_only():
    old, new = Stretch(OLD, ("1", "2")), Stretch(NEW, ("3",))
    assert describe_versions({"a": [old], "b": [old]}) == describe_versions({}) == ""
    assert describe_versions({"a": [old, new], "b": [new]}) == (
        "Scores were made by more than one version: a: 2 pairs by opencv 4.10, then 1 pair by opencv 5.0; "
        "b: all by opencv 5.0.")


@pytest.mark.parametrize("name", ["summary.md", "summary.tex", "net"])
def test_files_of_no_evaluation_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is already there, of no evaluation in this folder"):
        open_evaluation(tmp_path, make_record(), "first")
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_a_folder_is_removed_again_only_if_nothing_was_written_there(tmp_path):
    for made in ("new", "old"):
        if made == "old":
            (tmp_path / made).mkdir()
        with pytest.raises(KeyError), work_folder(tmp_path / made):
            raise KeyError
    assert not (tmp_path / "new").exists() and (tmp_path / "old").exists()
    with pytest.raises(KeyError), work_folder(tmp_path / "new"):
        open_evaluation(tmp_path / "new", make_record(), "first")
        raise KeyError
    assert (tmp_path / "new" / "evaluation.json").exists()
    with work_folder(tmp_path / "new"), pytest.raises(UserError, match="is in use"), work_folder(tmp_path / "new"):
        pytest.fail("held twice")


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

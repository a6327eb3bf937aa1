"""The study of EDMF's pairs: which they are, why some are refused, resumption."""

import numpy as np
import pytest

from edmf_jax.io.images import write_image
from studies import pairs


@pytest.fixture
def folder(tmp_path):
    for side in "AB":
        (tmp_path / f"Source_{side}").mkdir()
        for number in (1, 2, 10) if side == "A" else (2, 10, 501):
            image = np.full((64, 80, 3), 90 + (side == "B"), np.uint8)
            write_image(tmp_path / f"Source_{side}" / f"bg-{side}-{number}.png", image)
    return tmp_path


def test_pairs_are_those_of_the_split_that_are_whole(folder):
    found = pairs.find_pairs(folder, range(1, 501))
    assert list(found) == [2, 10]
    assert [path.name for path in found[10]] == ["bg-A-10.png", "bg-B-10.png"]


def test_a_pair_that_cannot_be_registered_is_refused_with_the_reason(folder):
    result = pairs.register_pair(pairs.find_pairs(folder, [2])[2])
    assert "bg-B-2.png" in result["refused"] and "one tone" in result["refused"]
    (reason,) = pairs.reasons([{"pair": 2, **result}])
    assert reason.endswith("shows nothing but one tone")


def test_a_stopped_run_goes_on(folder, monkeypatch, tmp_path):
    ran, log = [], tmp_path / "kept.jsonl"
    monkeypatch.setattr(pairs, "register_pair", lambda paths: ran.append(paths) or {"seconds": len(ran)})
    found = pairs.find_pairs(folder, range(1, 501))
    first = pairs.run_all(found, log, pairs.register_pair)
    log.write_text(log.read_text()[:-3])
    again = pairs.run_all(found, log, pairs.register_pair)
    assert len(ran) == 3 and again[0] == first[0] and [r["seconds"] for r in again] == [1, 3]


def test_the_table_says_how_many_were_refused_and_why():
    kept = {"refused": "", "seconds": 1.0, "deviation": 0.5, "moved": 2.0, "model": "affine", "flow": True}
    refused = [{"pair": n, "seconds": 3.0, "refused": f"B.jpg: cannot be registered to A.jpg: {why}; check that"}
               for n, why in ((4, "12 points agree, 20 are needed"), (7, "9.5 px off; 3 points agree, 20 are needed"))]
    text = pairs.markdown([{"pair": 1, **kept}, *refused, {"pair": 8, **kept, "model": "similarity"}])
    assert "| refused | 2 (50.0 %) |" in text and "| model | affine 1, similarity 1 |" in text
    assert "| with a flow | 2 |" in text and "| seconds | median 2.00, 95 % 3.00, most 3.00 |" in text
    assert "- N points agree, N are needed: 4, 7" in text and "- N px off: 7" in text
    assert "| refused | 0 (0.0 %) |" in pairs.markdown([])

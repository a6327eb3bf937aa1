"""Real pairs for the training of the chooser: what both shots cover, and a folder that the training reads."""

import cv2
import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.training.chooser_data import read_real_pairs
from studies import chooser_pictures
from studies.chooser_pictures import EDGE_PX, covered_by_all, main


def test_what_all_cover_has_no_missing_pixel_and_loses_no_more_than_it_must():
    valid = np.ones((100, 120), bool)
    valid[:7] = False
    valid[:, 115:] = False
    assert covered_by_all(valid) == (slice(7 + EDGE_PX, 100 - EDGE_PX), slice(EDGE_PX, 115 - EDGE_PX))
    slanted = np.add.outer(np.arange(100), np.arange(120) // 10) >= 11  # a corner that a turned shot lacks
    rows, columns = covered_by_all(slanted)
    assert slanted[rows, columns].all() and slanted[rows, columns].size > 0.5 * slanted.size


def test_pairs_are_written_as_the_training_reads_them(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    for number in (501, 502, 503):
        for side in "AB":
            (tmp_path / f"Source_{side}").mkdir(exist_ok=True)
            picture = rng.integers(0, 256, (60, 70, 3), np.uint8)
            cv2.imwrite(str(tmp_path / f"Source_{side}" / f"bg-{side}-{number}.jpg"), picture)

    def leveled(given):
        if given[0].mean() == second.mean():
            raise UserError("cannot be registered")
        return given

    second = cv2.imread(str(tmp_path / "Source_A" / "bg-A-502.jpg"))
    monkeypatch.setattr(chooser_pictures, "leveled", leveled)
    main(["real", str(tmp_path / "real"), "--edmf", str(tmp_path)])
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["edmf-501", "edmf-503"]
    pairs, _ = read_real_pairs(str(tmp_path / "real"), 48)
    first = cv2.imread(str(tmp_path / "Source_A" / "bg-A-501.jpg"))[..., ::-1]
    np.testing.assert_array_equal(pairs[0][0], first)
    with pytest.raises(SystemExit):
        main(["real", str(tmp_path / "other")])

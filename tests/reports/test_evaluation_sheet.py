"""The contact sheet of an evaluation."""

import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.io.images import read_image
from edmf_jax.reports import evaluation_sheet
from edmf_jax.reports.contact_sheet import GAP_PX, LABEL_PX
from tests.helpers.reports import FakePairs, make_evaluation, make_scene


def test_the_sheet_has_every_cut_out_of_every_pair_enlarged(tmp_path, monkeypatch):
    scenes = {str(i): make_scene(str(i), 150, 300, color=False) for i in range(1, 4)}
    make_evaluation(tmp_path / "w", ["first", "second"], scenes)
    monkeypatch.setattr(evaluation_sheet, "open_source_pairs", lambda *_, **__: FakePairs(scenes))
    lines = []
    path = evaluation_sheet.write_sheet(tmp_path / "w", tmp_path / "sheet.png", images=2, log=lines.append)
    picture = read_image(path)
    side = evaluation_sheet.ZOOM * evaluation_sheet.SIDE_PX
    cell = side + LABEL_PX + GAP_PX, side + GAP_PX
    assert (picture.shape[1] - GAP_PX) // cell[1] == 4  # two sources, two methods
    assert (picture.shape[0] - GAP_PX) // cell[0] >= 2 and lines == [f"sheet: {path} "
                                                                    f"({path.stat().st_size / 1e6:.1f} MB)"]
    tile = picture[GAP_PX + LABEL_PX :, GAP_PX:][:side, :side]
    np.testing.assert_array_equal(tile[::2, ::2], tile[1::2, 1::2])  # every pixel twice as large
    cut = tile[::2, ::2, 0]
    sources = [scenes[name].a for name in scenes]
    assert any((np.lib.stride_tricks.sliding_window_view(a, cut.shape) == cut).all((2, 3)).any() for a in sources)
    with pytest.raises(UserError, match="no cut-out to show"):
        evaluation_sheet.write_sheet(tmp_path / "w", tmp_path / "none.png", images=0)
    with pytest.raises(UserError, match="already there"):
        evaluation_sheet.write_sheet(tmp_path / "w", path, images=2)

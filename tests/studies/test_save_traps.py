"""The study of save-time traps: each changes what it says and nothing else."""

import numpy as np
import pytest

from edmf_jax.data.pairs import Scene
from edmf_jax.methods.luma_fusion import FULL_RANGE, luma_levels
from edmf_jax.metrics import TABLE_2
from studies import save_traps

NAMES = [m.name for m in TABLE_2]


@pytest.fixture
def scene(rng):
    a = rng.integers(60, 180, (72, 80, 3), np.uint8)
    return Scene("1", a, np.roll(a, 1, 0))


def test_traps_change_what_they_say(scene):
    luma = luma_levels(scene.a, FULL_RANGE)
    saved = {name: save(luma, scene.a, scene.a).astype(int) for name, save in save_traps.TRAPS.items()}
    honest = saved.pop(save_traps.HONEST)
    np.testing.assert_array_equal(honest, scene.a)  # a picture's own luma and chroma give it back
    assert set(np.unique(honest - saved["levels cut off to integers"])) == {0, 1}
    assert saved["luma stretched to 0…255"].min() == 0 and saved["luma stretched to 0…255"].max() == 255
    assert np.mean(saved["luma scaled to a maximum of 255"] - honest) > 30
    studio = luma_levels(saved["full-range luma colored as studio range"].astype(np.uint8), FULL_RANGE)
    assert np.polyfit(luma.ravel(), studio.ravel(), 1)[0] == pytest.approx(1.164, abs=0.1)
    # Of one picture alone, merging gives its own chroma back whatever the offset.
    np.testing.assert_allclose(saved["chroma merged without its offset of 128"], honest, atol=1)
    np.testing.assert_allclose(saved["8-bit luma, chroma of the first picture"], honest, atol=3)
    assert 0 < np.abs(saved["JPEG of quality 75"] - honest).mean() < 60


def test_rows_and_table(scene, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(save_traps, "read_image", lambda path: scene.a if "Source_A" in str(path) else scene.b)
    monkeypatch.setattr(save_traps, "fused_luma", lambda a, b: luma_levels(a, FULL_RANGE))
    for pairs in (["3"], ["3", "5"]):
        save_traps.main([str(tmp_path), "--pairs", *pairs, "--output", str(tmp_path / "rows.csv")])
    rows = [line.split(",")[:2] for line in (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()[1:]
            if not line.startswith('"')]
    assert [row[0] for row in rows if row[1].startswith("JPEG")] == ["3", "5"]
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown.startswith("| JPEG of quality 75 | ") and shown.count("±") == len(NAMES)

"""How true to the reference's tone fused pictures are."""

import numpy as np

from edmf_jax.io.images import write_image
from studies import tone
from tests.helpers.scenes import scene, shots


def test_what_is_brighter_counts_where_the_reference_was_chosen_or_all_is_plain():
    truth = np.uint8(np.rint(200 * scene(120, 160)))
    everywhere = np.ones((120, 160), bool)
    np.testing.assert_array_equal(tone.differences(truth, truth, everywhere), 0)
    brighter = truth.copy()
    brighter[:, 80:] += 20
    found = tone.differences(brighter, truth, everywhere)
    assert np.abs(found[:, :30]).max() < 0.5 and np.abs(found[:, 130:] - 20).max() < 0.5
    assert np.isnan(tone.differences(brighter, truth, ~everywhere)).all()  # textured
    plain = np.full((120, 160, 3), 100, np.uint8)
    np.testing.assert_allclose(tone.differences(plain + np.uint8(9), plain, ~everywhere), 9, atol=1e-3)


def test_pairs_are_measured_once(tmp_path, monkeypatch, capsys):
    _, a, b = (np.uint8(np.rint(255 * x)) for x in shots(120, 160))
    for letter, shot in (("A", a), ("B", b)):
        (tmp_path / f"Source_{letter}").mkdir()
        write_image(tmp_path / f"Source_{letter}" / f"bg-{letter}-7.png", shot)
    monkeypatch.setattr(tone, "find_pairs", lambda folder, _: {
        7: tuple(folder / f"Source_{letter}" / f"bg-{letter}-7.png" for letter in "AB")})
    monkeypatch.setattr(tone, "split_numbers", lambda: range(1, 501))
    given = ["--pairs", str(tmp_path), "--json", str(tmp_path / "log.jsonl"), "--pictures", str(tmp_path / "sheets")]
    tone.main(given)
    assert "1 of 1 fused pairs" in capsys.readouterr().out and (tmp_path / "sheets" / "7.png").exists()
    monkeypatch.setattr(tone, "measure_pair", None)  # would fail
    tone.main(given[:4])

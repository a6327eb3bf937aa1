"""How true to the reference's tone fused pictures are."""

import numpy as np

from edmf_jax.io.images import write_image
from studies import tone
from tests.helpers.scenes import scene, shots


def test_what_is_brighter_counts_where_the_reference_was_chosen_or_all_is_plain():
    truth = np.uint8(np.rint(30 + 180 * scene(120, 160)))
    everywhere = np.ones((120, 160), bool)
    np.testing.assert_array_equal(tone.differences(truth, truth, everywhere), 0)
    brighter = truth.copy()
    brighter[:, 80:] += 20
    found = tone.differences(brighter, truth, everywhere)
    assert np.abs(found[:, :30]).max() < 0.5 and np.abs(found[:, 130:] - 20).max() < 0.5
    assert np.isnan(tone.differences(brighter, truth, ~everywhere)).all()  # textured
    plain = np.full((120, 160, 3), 100, np.uint8)
    np.testing.assert_allclose(tone.differences(plain + np.uint8(9), plain, ~everywhere), 9, atol=1e-3)


def test_near_a_black_frame_nothing_is_compared():
    truth = np.full((200, 220, 3), 100, np.uint8)
    truth[:10] = 3
    truth[100:120, 100:120] = 0  # not at the edge
    found = tone.near_frame(truth)
    assert found[:46].all() and not found[46:].any()
    assert not tone.near_frame(np.full((20, 20), 100, np.uint8)).any()


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

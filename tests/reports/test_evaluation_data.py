"""What a report is made from: the choice of pairs, and the data set that was evaluated."""

import pytest

from edmf_jax.data.pairs import open_pairs
from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.errors import UserError
from edmf_jax.reports import evaluation_data
from edmf_jax.reports.evaluation_data import choose_pairs, load_evaluation, open_source_pairs
from edmf_jax.reports.evaluation_page import write_report
from tests.helpers.reports import make_evaluation, make_scene, pairs_of, quiet


def test_choice_of_pairs(tmp_path):
    scenes = {str(i): make_scene(str(i), 60, 84) for i in range(1, 15)}

    def values(method, pair, metric):
        lead = {4: 0.3, 9: -0.3, 2: 0.2}.get(pair, 0.001 * pair) if metric == "SSIM" else 0.0
        return 0.5 + (lead if method == 0 else 0)

    make_evaluation(tmp_path, ["x", "y"], scenes, values=values, pictures=False)
    evaluation = load_evaluation(tmp_path)
    chosen = choose_pairs(evaluation, 6)
    # Places 4, 9 and 2 are pairs 5, 10 and 3; the rest is spread from the first to the last.
    assert [pair.id for pair in chosen] == ["1", "3", "5", "8", "10", "14"]
    why = {pair.id: pair.why for pair in chosen}
    assert why["10"] == "One of those where x is furthest behind y in SSIM." and "ahead of y" in why["5"]
    assert chosen == choose_pairs(evaluation, 6)
    assert [pair.id for pair in choose_pairs(evaluation, 100)] == list(scenes)
    assert len(choose_pairs(evaluation, 1)) == 1


def test_a_real_data_set_is_found_again_and_another_one_refused(tmp_path, data_dir):
    open_dataset("edmf_synthetic/tiny", str(data_dir), log=quiet)
    pairs = open_pairs("edmf_synthetic/tiny", "test", data_dir=str(data_dir), log=quiet)
    scenes = {record.id: pairs.decode(record) for record in pairs.records()}
    opened = {"source": None, "patterns": None, "data_dir": str(data_dir)}
    fields = {"dataset": "edmf_synthetic/tiny", "data_bytes": pairs.data_bytes, "opened": opened}
    make_evaluation(tmp_path / "w", ["m"], scenes, **fields)
    page = write_report(tmp_path / "w", log=quiet).read_text(encoding="utf-8")
    assert [pair["id"] for pair in pairs_of(page)] == ["0", "1"] and "truth" in pairs_of(page)[0]["layers"]
    make_evaluation(tmp_path / "u", ["m"], scenes, **fields, digests=[pairs.digests[0], "0" * 16])
    with pytest.raises(UserError, match=r"has other pictures of 1 pairs than the evaluated one \(1\); .* --images 0"):
        open_source_pairs(load_evaluation(tmp_path / "u"), log=quiet)
    make_evaluation(tmp_path / "v", ["m"], scenes, **{**fields, "data_bytes": 7, "opened": None,
                                                      "commands": [f"edmf evaluate --data-dir {data_dir}"]})
    with pytest.raises(UserError, match=r"is not the data set that was evaluated: it has 2 pairs of .* --images 0"):
        open_source_pairs(load_evaluation(tmp_path / "v"), log=quiet)


def test_what_older_evaluations_were_opened_with_is_in_their_command(tmp_path):
    command = (f"edmf evaluate --dataset image_pairs --source {tmp_path} --data-dir nowhere --allow-missing "
               "--pattern-a 'a/{id}.png' --pattern-b 'b/{id}.png' --method m --workdir w")
    opened = evaluation_data._recorded_options({"commands": ["edmf evaluate --dataset edmf", command]})
    assert opened == {"source": str(tmp_path), "data_dir": None, "allow_missing": True,
                      "patterns": {"a": "a/{id}.png", "b": "b/{id}.png", "truth": None}}

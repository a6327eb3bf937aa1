"""Training the chooser: losses, refusals, and a run that is stopped and goes on."""

import json
import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from edmf_jax.core import chooser
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.simulate.ranges import OFF
from edmf_jax.training import chooser as training
from edmf_jax.training.chooser_data import cut_patches, read_atlas, read_pairs, read_real_pairs, validate
from edmf_jax.training.chooser_step import averaged, choice_loss, paper_loss
from edmf_jax.training.config import load_config
from edmf_jax.weights.chooser_params import load_chooser, save_chooser
from tests.helpers.files import ROOT


@pytest.fixture
def config(tmp_path):
    config = load_config(str(ROOT / "configs" / "chooser.py"))
    folder = tmp_path / "sharp"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (120, 130, 3), np.uint8))
    config.data.update(pictures=str(folder), patch_px=48, shots_per_step=2, shot_shares=(1.0,) + 6 * (0.0,))
    config.model.size = "small"
    config.loss.edge_px = 8
    config.simulate = ConfigDict(OFF._replace(front_shares=(1.0,))._asdict())  # compiles sooner
    config.train.update(steps=4, log_every_steps=1)
    return config


def test_the_choice_loss_is_zero_where_all_shots_are_equally_right_and_grows_with_the_wrong_weight():
    error = jnp.array([0.0, 0.0, 0.5]).reshape(1, 3, 1, 1)
    logits = lambda *x: jnp.array(x, jnp.float32).reshape(1, 3, 1, 1)
    assert choice_loss(logits(0, 5, -30), error, 2.0) == pytest.approx(0, abs=1e-6)
    wrong = choice_loss(logits(0, 0, 3), error, 2.0)
    assert wrong == pytest.approx(math.log(2 + math.exp(3)) - math.log(2), rel=1e-3)
    assert choice_loss(logits(0, 0, 40), error, 2.0) > wrong  # and does not saturate
    covered = jnp.array([0.0, 0.0, jnp.inf]).reshape(1, 3, 1, 1)
    gradient = jax.grad(lambda x: choice_loss(x, covered, 2.0))(logits(0, 0, -jnp.inf))
    assert np.isfinite(gradient).all()


def test_the_average_follows_the_parameters():
    import optax

    optimizer = averaged(optax.chain(optax.scale_by_adam(), optax.scale(-1.0)), 0.5)
    params = {"a": jnp.zeros(2)}
    state = optimizer.init(params)
    for _ in range(20):
        updates, state = optimizer.update({"a": jnp.ones(2)}, state, params)
        params = optax.apply_updates(params, updates)
    assert params["a"][0] < state.average["a"][0] < params["a"][0] + 2


def test_parameters_come_back_as_they_were_saved(tmp_path):
    params = chooser.init_params(jax.random.key(0), chooser.SIZES["small"])
    save_chooser(tmp_path / "p.npz", params, {"size": "small", "step": 3})
    loaded, about = load_chooser(tmp_path / "p.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    assert about == {"size": "small", "step": 3}
    save_chooser(tmp_path / "q.npz", params, {"size": "large"})
    with pytest.raises(UserError, match="not as in a chooser of size large"):
        load_chooser(tmp_path / "q.npz")
    (tmp_path / "r.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_chooser(tmp_path / "r.npz")
    with pytest.raises(MissingFileError, match="no such file"):
        load_chooser(tmp_path / "none.npz")


def test_what_can_not_be_trained_is_refused(config, tmp_path):
    with pytest.raises(UserError, match=r"data\.pictures='': there is no such folder"):
        read_atlas("", 96)
    with pytest.raises(UserError, match=r"none of 2 pictures .* data\.patch_px=96"):
        read_atlas(config.data.pictures, 96)
    with pytest.raises(UserError, match="holds no folder with shot"):
        read_pairs(config.data.pictures)
    for field, value in (("data.patch_px", 50), ("model.size", "huge"), ("train.steps", 0)):
        wrong = config.copy_and_resolve_references()
        wrong.update_from_flattened_dict({field: value})
        with pytest.raises(UserError, match=field):
            training.train_chooser(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_real_pairs_are_read_cut_and_refused(tmp_path):
    rng = np.random.default_rng(2)
    for name, size in (("edmf-2", (64, 80)), ("edmf-10", (70, 66)), ("small", (40, 80))):
        (tmp_path / name).mkdir()
        for shot in range(3):  # a third one is not taken
            cv2.imwrite(str(tmp_path / name / f"shot-{shot}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    pairs, fingerprint = read_real_pairs(str(tmp_path), 48)
    assert [pair.shape for pair in pairs] == [(2, 70, 66, 3), (2, 64, 80, 3)]
    cut = lambda seed: cut_patches(pairs, 8, 48, np.random.default_rng(seed))
    np.testing.assert_array_equal(cut(1), cut(1))
    assert cut(1).shape == (8, 2, 48, 48, 3) and not np.array_equal(cut(1), cut(2))
    for patch in cut(1):  # both shots from one place, as they are or left to right
        assert any(np.array_equal(patch[:, :, ::turn], pair[:, top : top + 48, left : left + 48])
                   for pair in pairs for turn in (1, -1)
                   for top in range(pair.shape[1] - 47) for left in range(pair.shape[2] - 47))
    assert read_real_pairs("", 48) == ([], "")
    with pytest.raises(UserError, match=r"data\.real=.*: it holds no folder with .* of at least data\.patch_px=96 px"):
        read_real_pairs(str(tmp_path), 96)
    with pytest.raises(UserError, match=r"data\.real=nowhere: there is no such folder"):
        read_real_pairs("nowhere", 48)
    cv2.imwrite(str(tmp_path / "small" / "shot-1.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(UserError, match="small: its pictures differ in size"):
        read_real_pairs(str(tmp_path), 48)
    assert len(fingerprint) == 64


def test_the_loss_of_real_pairs_is_least_for_the_sharper_shot_and_leaves_out_the_edges():
    sharp = np.random.default_rng(3).integers(0, 256, (48, 48)).astype(np.uint8)
    left = np.arange(48)[None] < 24
    soft = cv2.GaussianBlur(sharp, (0, 0), 2)
    planes = np.stack([np.where(left, sharp, soft), np.where(left, soft, sharp)])[None].astype(np.float32) / 255
    right = np.broadcast_to(np.stack([left[0], ~left[0]])[None, :, None], planes.shape).astype(np.float32)
    loss = jax.jit(lambda weights: paper_loss(weights, jnp.asarray(planes), 8))
    even = np.full_like(planes, 0.5)
    assert loss(right) < 0.1 * loss(even) < 0.1 * loss(1 - right)
    inside = np.zeros_like(right)
    inside[..., 8:-8, 8:-8] = right[..., 8:-8, 8:-8]
    assert loss(inside) == loss(right)


@pytest.mark.slow
def test_an_untrained_network_validates_as_the_hand_made_choice(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "pairs" / "kind-1"
    folder.mkdir(parents=True)
    truth = np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    for name in ("shot-0", "shot-1"):
        cv2.imwrite(str(folder / f"{name}.png"), truth)
    cv2.imwrite(str(folder / "truth.png"), truth)
    pairs = read_pairs(str(tmp_path / "pairs"))
    scores = validate(chooser.init_params(jax.random.key(0), (4,)), pairs, 16)
    assert list(scores) == ["kind"]
    assert min(scores["kind"]) > 70 and len(set(scores["kind"])) == 1


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(config, tmp_path):
    real = tmp_path / "real" / "pair"
    real.mkdir(parents=True)
    for shot in range(2):
        picture = np.random.default_rng(shot).integers(0, 256, (60, 70, 3), np.uint8)
        cv2.imwrite(str(real / f"shot-{shot}.png"), picture)
    config.data.update(real=str(real.parent), real_patches=1)
    whole = training.train_chooser(config, tmp_path / "whole", log=lambda line: None)
    config.train.steps = 2
    training.train_chooser(config, tmp_path / "parts", log=lambda line: None)
    config.train.steps = 4
    parts = training.train_chooser(config, tmp_path / "parts", log=lambda line: None)
    jax.tree.map(np.testing.assert_array_equal, (whole.params, whole.opt_state), (parts.params, parts.opt_state))
    logs = [[json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
            for name in ("whole", "parts")]
    assert logs[0] == logs[1] and len(logs[0]) == 4
    average, about = load_chooser(tmp_path / "whole" / "params.npz")
    jax.tree.map(np.testing.assert_array_equal, average, jax.tree.map(np.asarray, whole.opt_state.average))
    assert about["step"] == 4
    config.data.pictures = str(tmp_path)
    cv2.imwrite(str(tmp_path / "other.png"), np.zeros((120, 130, 3), np.uint8))
    with pytest.raises(UserError, match="began on other pictures"):
        training.train_chooser(config, tmp_path / "whole", log=lambda line: None)

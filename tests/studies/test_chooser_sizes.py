"""Networks of several sizes, taught by the same shots until the time is up."""

import json

import cv2
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from edmf_jax.simulate.ranges import OFF
from edmf_jax.training.chooser import _Loop, check_chooser_config
from edmf_jax.training.chooser_data import read_atlas
from edmf_jax.training.chooser_step import initial_state, train_on
from edmf_jax.training.config import load_config
from edmf_jax.weights.chooser_params import load_chooser
from studies.device import chooser_sizes


@pytest.fixture
def config(tmp_path):
    config = load_config("chooser.py")
    (tmp_path / "sharp").mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        cv2.imwrite(str(tmp_path / "sharp" / f"{number}.png"), rng.integers(0, 256, (120, 130, 3), np.uint8))
    config.data.update(pictures=str(tmp_path / "sharp"), patch_px=48, shots_per_step=2, shot_shares=(1.0,) + 6 * (0.0,))
    config.model.size = "small"
    config.loss.edge_px = 8
    config.simulate = ConfigDict(OFF._replace(front_shares=(1.0,))._asdict())  # compiles sooner
    config.train.update(log_every_steps=1, warmup_steps=1, decay_steps=0)
    return config


def test_the_rate_rises_and_falls_with_the_time(config):
    config.train.update(learning_rate=1e-3, warmup_steps=10)
    rate = chooser_sizes.rate_at
    assert rate(0.0, config, 4) == pytest.approx(0.5e-3)
    assert rate(0.5, config, 100) == pytest.approx(0.505e-3)
    assert rate(1.0, config, 100) == rate(2.0, config, 100) == pytest.approx(1e-5)


@pytest.mark.slow
def test_a_student_learns_what_the_training_teaches(config):
    """Batches and steps are those of `edmf train`, whose rate is constant here."""
    simulation, student = chooser_sizes.Simulation(config), chooser_sizes.Student(config)
    state, ranges = initial_state(config), check_chooser_config(config)
    atlas, _ = read_atlas(config.data.pictures, 48)
    loop = _Loop(config, ranges, atlas, None, [], config.data.pictures, None, None, None, None)
    step = jax.jit(lambda state, batch: train_on(state, batch, config))
    for number in range(4):
        batch = simulation.batch(number)
        jax.tree.map(np.testing.assert_array_equal, batch, loop._batch(number))
        # the rate of `edmf train` is 0 in its first step, that of the student is not
        student.train(batch, 0.0 if number == 0 else config.train.learning_rate)
        state, _ = step(state, batch)
    for ours, theirs in ((student.state.params, state.params),
                         (student.state.opt_state.average, state.opt_state.average)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, theirs)


@pytest.mark.slow
def test_a_run_ends_in_time_with_parameters_of_every_size(config, tmp_path, capsys):
    fields = ["--config.data.patch_px=48", "--config.data.shots_per_step=2", "--config.train.log_every_steps=1",
              "--config.data.shot_shares=1,0,0,0,0,0,0", "--config.loss.edge_px=8"]
    chooser_sizes.main(["--pictures", config.data.pictures, "--seconds", "45", "-o", str(tmp_path / "out"), "--sizes",
                        "small", *fields])
    params, about = load_chooser(str(tmp_path / "out" / "small.npz"))
    assert about["size"] == "small" and about["step"] >= 0 and np.isfinite(params["stem"]["kernel"]).all()
    rows = [json.loads(line) for line in (tmp_path / "out" / "chooser-sizes.jsonl").read_text().splitlines()]
    assert len(rows) == about["step"]
    assert f"{about['step']} steps in" in capsys.readouterr().out

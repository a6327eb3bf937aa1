"""Whole batches: ranges, masks and atlas, and that everything off leaves the scene."""

import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.simulate import masks
from edmf_jax.simulate.atlas import Atlas, make_atlas, window_px, windows
from edmf_jax.simulate.batch import canvas_px, draw_batch
from edmf_jax.simulate.ranges import OFF, from_fields
from tests.helpers.files import ROOT

PATCH = 16
KEY = jax.random.key(0, impl="rbg")


@pytest.fixture(scope="module")
def atlas():
    rng = np.random.default_rng(0)
    side = window_px(canvas_px(PATCH))
    pictures = [rng.integers(0, 256, (side + 3 * i, side + 7, 3), np.uint8) for i in range(3)]
    return Atlas(*map(jnp.asarray, make_atlas([*pictures, pictures[0][:20]], canvas_px(PATCH), width=200)))


def test_the_atlas_holds_the_pictures_and_its_windows_are_parts_of_them(atlas):
    assert len(atlas.boxes) == 3  # the fourth is too small
    cut = np.asarray(jax.jit(windows, static_argnums=(2, 3, 4))(KEY, atlas, 4, canvas_px(PATCH), OFF))
    sheet = np.asarray(atlas.sheet)
    for window in cut:
        corner = np.rint(255 * window[:2, :2]).astype(np.uint8)
        found = [np.array_equal(view[y : y + 2, x : x + 2], corner) for view in (sheet, sheet[:, ::-1])
                 for y, x in zip(*np.nonzero((view == corner[0, 0]).all(-1)))]
        assert any(found)
    with pytest.raises(ValueError, match="none of 1 pictures has sides of"):
        make_atlas([np.zeros((20, 20, 3), np.uint8)], 32)


@pytest.mark.slow
def test_a_batch_with_everything_off_has_its_target_in_the_sharper_shot(atlas):
    ranges = OFF._replace(front_shares=(0.0,))
    batch = jax.tree.map(np.asarray, draw_batch(KEY, atlas, 2, 2, PATCH, ranges))
    assert batch.pixels.shape == (2, 2, PATCH, PATCH, 3)
    assert batch.valid.all()
    nearest = np.argmin(batch.error.mean((2, 3)), 1)
    for sample, shot in enumerate(nearest):
        # In focus, but for 8 bits.
        np.testing.assert_allclose(batch.pixels[sample, shot], batch.target[sample], atol=0.6 / 255)
        assert np.abs(batch.pixels[sample, 1 - shot] - batch.target[sample]).mean() > 0.05
    again = draw_batch(KEY, atlas, 2, 2, PATCH, ranges)
    np.testing.assert_array_equal(again.pixels, batch.pixels)


@pytest.mark.slow
def test_a_batch_with_everything_on_is_finite_and_in_range(atlas):
    ranges = from_fields(dict(runpy.run_path(str(ROOT / "configs" / "chooser.py"))["simulation"]()))
    batch = jax.tree.map(np.asarray, draw_batch(KEY, atlas, 8, 3, PATCH, ranges))
    assert np.isfinite(batch.pixels).all() and np.isfinite(batch.target).all()
    assert batch.pixels.min() >= 0 and batch.pixels.max() <= 1
    np.testing.assert_array_equal(np.isfinite(batch.error), batch.valid)
    assert batch.valid[:, 0].all()


def test_shapes_have_the_edges_that_are_asked_for():
    draw = jax.jit(masks.coverages, static_argnums=(1, 2, 3))
    kind = jnp.full((6, 1, 1), masks.KINDS.index("bars"))
    thin = OFF._replace(thin_px=(3.0, 3.0))
    cover = np.asarray(draw(KEY, 6, 64, thin, kind))
    assert cover.min() >= 0 and cover.max() <= 1
    hard = ((cover > 0.02) & (cover < 0.98)).mean()
    soft = np.asarray(draw(KEY, 6, 64, thin._replace(soft_share=1.0, soft_edge_px=(6.0, 6.0)), kind))
    assert ((soft > 0.02) & (soft < 0.98)).mean() > 1.5 * hard


def test_ranges_that_can_not_be_are_refused():
    fields = OFF._asdict()
    assert from_fields(fields | {"zoom": [1.0, 1.0]}) == OFF
    with pytest.raises(ValueError, match=r"simulate\.noise_share=1\.5: a share is from 0 to 1"):
        from_fields(fields | {"noise_share": 1.5})
    with pytest.raises(ValueError, match=r"simulate\.zoom=\(2, 1\): a range"):
        from_fields(fields | {"zoom": (2, 1)})
    with pytest.raises(ValueError, match=r"simulate\.zooom: no such field"):
        from_fields(fields | {"zooom": (1, 2)})

"""Methods against what their authors' programs make of a pair of Lytro (../shared/comparators)."""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.methods import cnn, gacn, mffgan, samf, sesf, zmff
from edmf_jax.methods.layers import from_torch
from edmf_jax.methods.luma_fusion import STUDIO_RANGE, luma_levels
from edmf_jax.methods.planes import MATLAB_WEIGHTS, SKIMAGE_WEIGHTS, blend, gray_of, levels_rounded_up
from tests.helpers.files import shared_file

ROI = np.s_[64:192, 64:192]


def picture(name):
    return cv2.cvtColor(cv2.imread(str(shared_file(f"comparators/golden/{name}.png"))), cv2.COLOR_BGR2RGB)


def golden(name):
    with np.load(shared_file(f"comparators/golden/{name}.npz")) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def pair():
    return [picture(f"inputs/lytro-01-{source}") for source in "AB"]


@pytest.fixture(scope="module")
def gacn_fuser():
    return gacn.load(gacn.read_weights(shared_file("comparators/originals/GACN/GACN.pkl")), as_published=True)


@pytest.fixture(scope="module")
def sesf_fuser():
    path = shared_file("comparators/originals/SESF/lp+lssim_se_sf_net_times30.pkl")
    return sesf.load(sesf.read_weights(path), as_published=True)


def share_of_other_levels(fused, expected):
    difference = np.abs(fused.astype(int) - expected)
    assert difference.max() <= 1
    return (difference > 0).mean()


def test_gacn(pair, gacn_fuser):
    gray = np.stack([gray_of(x, SKIMAGE_WEIGHTS) for x in pair])[..., None].astype(np.float32)
    decision = gacn.decide(gacn_fuser.params, gray)
    expected = golden("GACN/lytro-01-decision")["decision"]
    np.testing.assert_array_equal(decision > 0.5, expected > 0.5)
    np.testing.assert_allclose(decision, expected, atol=5e-3)  # a sigmoid of slope 250
    np.testing.assert_allclose(gacn_fuser.decision_map(pair)[ROI], golden("GACN/lytro-01-mask_bgf-roi")["mask_bgf"],
                               atol=2e-4)
    assert share_of_other_levels(gacn_fuser(pair), picture("GACN/lytro-01-fused")) < 5e-5


def test_sesf(pair, sesf_fuser):
    raw = sesf_fuser.raw_map(pair)
    np.testing.assert_array_equal(raw, golden("SESF/lytro-01-raw")["raw"])
    np.testing.assert_array_equal(sesf.clean(raw), golden("SESF/lytro-01-bin")["bin"])
    np.testing.assert_allclose(sesf_fuser.decision_map(pair)[ROI], golden("SESF/lytro-01-gf-roi")["gf"], atol=1e-6)
    # Levels are cut off, so the last digit decides where the sum is an integer.
    assert share_of_other_levels(sesf_fuser(pair), picture("SESF/lytro-01-fused")) < 0.006


@pytest.mark.parametrize("as_published", [False, True])
def test_equal_pictures_come_back_in_color_and_gray(pair, gacn_fuser, sesf_fuser, as_published):
    for fuser in (gacn_fuser, sesf_fuser):
        fuser = dataclasses.replace(fuser, as_published=as_published)
        np.testing.assert_array_equal(fuser([pair[0], pair[0]]), pair[0])
        gray = pair[0][..., 1]
        np.testing.assert_array_equal(fuser([gray, gray]), gray)


def test_samf_of_constant_and_gray_pictures(pair):
    gray = [x[..., 1] for x in pair]
    constant = np.full_like(gray[0], 7)
    np.testing.assert_array_equal(samf.load()([constant, constant]), constant)
    share = samf.load().decision_map(gray)
    fused = samf.load()(gray)
    np.testing.assert_array_equal(fused[share == 1], gray[0][share == 1])
    np.testing.assert_array_equal(fused[share == 0], gray[1][share == 0])


@pytest.mark.slow
def test_mffgan_in_pieces(pair):
    params = mffgan.read_weights(shared_file("comparators/originals/MFF-GAN/CGAN.model-19.index"))
    luma = np.stack([luma_levels(x, STUDIO_RANGE) for x in pair]).astype(np.float32)
    in_pieces = mffgan.fuse_luma(params, luma, largest_px=200)
    np.testing.assert_allclose(in_pieces, mffgan.fuse_luma(params, luma), atol=1e-4)


@pytest.mark.slow
def test_gacn_and_sesf_in_pieces(pair, gacn_fuser, sesf_fuser):
    for fuser in (gacn_fuser, sesf_fuser):
        in_pieces = dataclasses.replace(fuser, largest_px=120)
        np.testing.assert_allclose(in_pieces.decision_map(pair), fuser.decision_map(pair), atol=1e-3)


def test_mffgan(pair):
    fuser = mffgan.load(mffgan.read_weights(shared_file("comparators/originals/MFF-GAN")), as_published=True)
    luma = np.stack([levels_rounded_up(luma_levels(x, STUDIO_RANGE)) for x in pair]).astype(np.float32)
    fused, expected = mffgan.fuse_luma(fuser.params, luma), golden("MFF-GAN/lytro-01-y255-roi")
    np.testing.assert_allclose(fused[ROI], expected["y255"], atol=1.5e-4)
    np.testing.assert_allclose([fused.min(), fused.max()], [expected["y_min"], expected["y_max"]], atol=1.5e-4)
    assert fuser(pair).shape == pair[0].shape
    gray = [x[..., 1] for x in pair]
    assert (fuser(gray).min(), fuser(gray).max()) == (0, 255)  # stretched on saving


def test_cnn_from_the_score_map_on(pair):
    scores = golden("CNN/lytro-01-outmap")["outmap"]
    mask = cnn.clean(cnn.focus_map(scores, pair[0].shape[:2]) > 0.5)
    np.testing.assert_array_equal(mask, golden("CNN/lytro-01-bin")["bin"])
    share = cnn.smooth(mask, *(gray_of(x, MATLAB_WEIGHTS) for x in pair))
    fused = levels_rounded_up(blend(share, *(x.astype(float) for x in pair)))
    np.testing.assert_array_equal(fused, picture("CNN/lytro-01-fused"))


def test_samf(pair):
    fuser = samf.load(as_published=True)
    np.testing.assert_array_equal(2 * fuser.decision_map(pair), golden("SAMF/lytro-01-fmap")["fmap"])
    np.testing.assert_array_equal(fuser(pair), picture("SAMF/lytro-01-fused"))


def test_zmff_scores(pair):
    luma = np.stack([cv2.cvtColor(x, cv2.COLOR_RGB2YCrCb)[..., 0] for x in pair]) / np.float32(255)
    scores, expected = zmff.score_maps(luma), golden("ZMFF/lytro-01-scores")
    np.testing.assert_array_equal(scores, [expected["A"], expected["B"]])


def narrow_networks():
    """The authors' networks at a sixteenth of their width: parameters, inputs, and what they give."""
    arrays = golden("ZMFF/narrow-net")
    params = []
    for network in ("x", "m0", "m1"):
        flat = {name.removeprefix(f"{network}/"): x for name, x in arrays.items() if name.startswith(f"{network}/")}
        params.append({name.replace(".1.weight", "") if x.ndim == 4 else name: x for name, x in
                       from_torch(flat).items()})
    inputs = [jnp.asarray(arrays[name].transpose(0, 2, 3, 1)) for name in ("in_x", "in_m", "in_m")]
    return arrays, tuple(params), inputs


@pytest.mark.slow
def test_zmff_networks_losses_and_gradients():
    arrays, params, inputs = narrow_networks()
    luma, scores = jnp.moveaxis(inputs[0][0], -1, 0), jnp.stack([arrays[f"score{i}"][0, 0] for i in (0, 1)])
    np.testing.assert_array_equal(zmff.score_maps(np.asarray(luma)), scores)

    @jax.jit
    def run(params, step):
        def loss(params):
            outputs = zmff.networks(params, inputs)
            return zmff.total_loss(step, outputs, luma, scores), outputs

        return jax.value_and_grad(loss, has_aux=True)(params)

    for step in (0, 600):
        (loss, outputs), gradients = run(params, step)
        np.testing.assert_allclose(loss, arrays[f"loss_total_{step}"], rtol=2e-5)
        for output, name in zip(outputs, ("out_x", "out_m0", "out_m1")):
            np.testing.assert_allclose(output, arrays[name][0, 0], atol=5e-6)
        for gradient, name in zip(gradients, ("x", "m0")):
            expected = arrays[f"grad_{step}/{name}/down_conv1.0"].transpose(2, 3, 1, 0)
            np.testing.assert_allclose(gradient["down_conv1.0"], expected, atol=1e-4 * np.abs(expected).max())
    reconstruction, prior, _ = zmff.losses(outputs, luma, scores)
    np.testing.assert_allclose([reconstruction, prior], [arrays["loss_recon_0"], arrays["loss_prior_0"]], rtol=1e-5)

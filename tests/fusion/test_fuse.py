"""Preset "paper": the published numbers, color by an independent formula, all kinds of pictures, bad input, files."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.color import fuse_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from edmf_jax.core.model import fuse_luma, init_params, make_model
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion import fuse as module
from edmf_jax.fusion import tiling
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.io.images import read_image, write_image
from edmf_jax.io.metadata import Metadata, read_metadata
from edmf_jax.weights.store import Weights, save_weights
from tests.helpers.files import nest, shared_file

SIZE = (17, 20)
fuse = functools.partial(module.fuse, preset="paper")


def make_weights(dtype="float32"):
    """A tiny network that mostly averages its sources: random weights on top of a path that copies them."""
    rng = np.random.default_rng(11)
    shapes = jax.eval_shape(lambda key: init_params(make_model(2), key), jax.random.key(0))
    params = jax.tree.map(lambda leaf: (0.03 * rng.standard_normal(leaf.shape)).astype(np.float32), shapes)
    params["conv1"]["kernel"][1, 1, :, :] += 0.7
    params["conv11"]["kernel"][1, 1, :2, 0] += 0.4
    return Weights(params, {"model": {"width": 2, "dtype": dtype}}, "tiny")


@pytest.fixture(scope="module")
def weights():
    return make_weights()


def shots(shape=(*SIZE, 3), dtype=np.uint8, seed=0):
    full = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    values = np.random.default_rng(seed).random((2, *shape))
    return list((values * full).round().astype(dtype) if full > 1 else values.astype(dtype))


# --- the numbers


def test_published_mufusion_is_reproduced(reference):
    with np.load(shared_file("mufusion/multi-focus.npz")) as arrays:
        published = Weights(nest(dict(arrays)), {"model": {"width": 32, "dtype": "float32"}}, "MUFusion")
    golden = reference("mufusion_forward")
    sources, expected = golden["c_sources"], golden["c_fused"]
    fused = fuse(list(sources.astype(np.float32) / 255), weights=published)
    np.testing.assert_allclose(fused, np.clip(expected, 0, 1), atol=2e-6)
    # 8 bits: the network's Y, rounded; a value within 2e-6 of a half may fall either way.
    levels = 255 * np.clip(expected.astype(np.float64), 0, 1)
    clear = np.abs(levels % 1 - 0.5) > 1e-3
    rounded = fuse(list(sources), weights=published)
    np.testing.assert_array_equal(rounded[clear], np.rint(levels)[clear])
    assert clear.mean() > 0.99


def color_reference(images, luma):
    """docs/paper.md, Color, in float64 and in levels of 255, written from the matrices of ITU-T T.871."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    a, b = (image.astype(np.float64) @ matrix.T + [0, 128, 128] for image in images)
    weight_a, weight_b = np.abs(a[..., 1:] - 128), np.abs(b[..., 1:] - 128)
    cb, cr = np.moveaxis((a[..., 1:] * weight_a + b[..., 1:] * weight_b) / (weight_a + weight_b), -1, 0) - 128
    red, green, blue = luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb
    return np.clip(np.stack([red, green, blue], -1), 0, 255)


def test_color_is_that_of_the_formula(weights):
    images = shots()
    y = [(image / 255) @ np.array([0.299, 0.587, 0.114]) for image in images]  # not rounded to 8 bits
    expected = color_reference(images, 255.0 * fuse(y, weights=weights))
    fused = fuse(images, weights=weights)
    assert fused.dtype == np.uint8 and np.abs(fused - expected).max() < 0.51
    assert fused.std() > 20


def test_gray_in_three_channels_is_the_single_channel(weights):
    gray = shots(SIZE)
    fused = fuse([np.repeat(g[..., None], 3, -1) for g in gray], weights=weights).astype(int)
    assert np.abs(fused - fuse(gray, weights=weights)[..., None]).max() <= 1


@functools.partial(jax.jit, static_argnums=0)
def fuse_in_one_piece(model, params, a, b):
    """The definition: the network on the whole planes, without padding, tiles or strips."""
    (y_a, cb_a, cr_a), (y_b, cb_b, cr_b) = rgb_to_ycbcr(a), rgb_to_ycbcr(b)
    y = jnp.clip(fuse_luma(model, params, y_a[None], y_b[None])[0], 0, 1)
    return jnp.clip(ycbcr_to_rgb(y, fuse_chroma(cb_a, cb_b), fuse_chroma(cr_a, cr_b)), 0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(*SIZE, 3), (83, 97, 3)])
def test_pieces_and_strips_are_the_picture_in_one_piece(weights, monkeypatch, shape, dtype):
    monkeypatch.setattr(tiling, "LARGEST_PX", 64)
    monkeypatch.setattr(tiling, "_STRIP_PX", 30)
    images = shots(shape, dtype)
    full = np.float32(np.iinfo(dtype).max if dtype != np.float32 else 1)
    expected = full * np.asarray(fuse_in_one_piece(weights.model, weights.params, *(x / full for x in images)))
    fused = fuse(images, weights=weights)
    assert fused.dtype == dtype and fused.std() > 0.02 * full
    # A value at a half may be rounded either way; float32 has 24 bits.
    tolerance = {np.uint8: 0.501, np.uint16: 0.6, np.float32: 2e-6}[dtype]
    assert np.abs(fused - expected).max() < tolerance


def test_order_is_a_then_b_and_sources_are_left_alone(weights):
    images = shots(SIZE)
    copies = [image.copy() for image in images]
    fused, swapped = fuse(images, weights=weights), fuse(images[::-1], weights=weights)
    assert np.any(fused != swapped)
    for image, copy in zip(images, copies):
        np.testing.assert_array_equal(image, copy)


# --- every kind of picture


@pytest.mark.parametrize("shape", [(16, 16), (17, 23, 3), (19, 16)])
def test_every_size_comes_back(weights, shape):
    fused = fuse(shots(shape), weights=weights)
    assert fused.shape == shape and fused.dtype == np.uint8


def test_channel_axis_of_one_stays(weights):
    images = shots(SIZE)
    fused = fuse([image[..., None] for image in images], weights=weights)
    np.testing.assert_array_equal(fused[..., 0], fuse(images, weights=weights))


def test_sixteen_bits_are_finer_not_other(weights):
    eight = shots(SIZE)
    sixteen = fuse([image.astype(np.uint16) * 257 for image in eight], weights=weights)
    assert sixteen.dtype == np.uint16 and np.any(sixteen % 257)
    assert np.abs(sixteen / 257 - fuse(eight, weights=weights)).max() < 0.51


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_not_rounded(weights, dtype):
    eight = shots(SIZE)
    fused = fuse([image.astype(dtype) / dtype(255) for image in eight], weights=weights)
    assert fused.dtype == dtype and fused.min() >= 0 and fused.max() <= 1
    np.testing.assert_array_equal(np.rint(fused * 255), fuse(eight, weights=weights))


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_sources_do_not_wrap_around(weights, level):
    dazzling = Weights(weights.params | {"conv11": {"kernel": weights.params["conv11"]["kernel"],
                                                    "bias": np.full(1, 9 if level else -9, np.float32)}},
                       weights.config, "dazzling")
    assert np.all(fuse([np.full(SIZE, level, np.uint8)] * 2, weights=dazzling) == level)


def test_computing_in_bfloat16_is_near(weights):
    images = shots(SIZE)
    fused = fuse(images, weights=make_weights("bfloat16"))
    assert fused.dtype == np.uint8 and np.abs(fused.astype(int) - fuse(images, weights=weights)).max() < 16


def test_a_float64_network_computes_in_float64(weights):
    images = shots(dtype=np.float64)
    with jax.enable_x64(True):
        double = make_weights("float64")
        fused = fuse(images, weights=double)
        gray = fuse([image[..., 0] for image in images], weights=double)
        expected = np.asarray(fuse_in_one_piece(double.model, double.params, *images))
        expected_gray = fuse_luma(double.model, double.params, *(image[None, ..., 0] for image in images))[0]
    assert fused.dtype == gray.dtype == expected.dtype == np.float64
    np.testing.assert_allclose(fused, expected, atol=1e-12)
    np.testing.assert_allclose(gray, np.clip(expected_gray, 0, 1), atol=1e-12)
    assert 0 < np.abs(fused - fuse(images, weights=weights)).max() < 1e-5


def test_sizes_of_one_padded_shape_are_compiled_once(weights):
    fuse(shots(SIZE), weights=weights)
    before = tiling._fuse_padded._cache_size()
    other = Weights(jax.tree.map(lambda leaf: leaf / 2, weights.params), weights.config, "other")
    fuse(shots(SIZE, seed=1), weights=other)
    fuse(shots((18, 23)), weights=weights)  # one of the sizes that share its padded shape
    assert tiling._fuse_padded._cache_size() == before


# --- bad input


U8, F32 = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.float32)


@pytest.mark.parametrize("images, words", [
    ([U8], "fuses two pictures, got 1"),
    ([U8] * 3, "got 3; the preset \"photo\" takes any number"),
    ([U8, U8[:-1]], "images[0] is 20×17 px and images[1] is 20×16 px"),
    ([U8, np.zeros((*SIZE, 3), np.uint8)], "images[0] is single-channel (17, 20) and images[1] is color (17, 20, 3)"),
    ([U8, U8.astype(np.uint16)], "images[0] is uint8 and images[1] is uint16"),
    ([U8[:15], U8[:15]], "20×15 px, but fusion takes at least 16×16 px"),
    ([U8, np.zeros((*SIZE, 4), np.uint8)], "images[1]: 4 channels, shape (17, 20, 4); drop the alpha channel"),
    ([U8[None, ..., None], U8], "images[0]: shape is (1, 17, 20, 1)"),
    ([U8, U8.astype(np.int64)], "images[1]: dtype is int64"),
    (["a.jpg", "b.jpg"], "a.jpg: no such file"),
    ([U8, "b.jpg"], "b.jpg: no such file"),
    ([U8.astype(bool)] * 2, "dtype is bool"),
    ([F32, F32 + 1.01], "images[1]: values from 1.01 to 1.01; floats must be in [0, 1]"),
    ([F32 - 0.5, F32], "images[0]: values from -0.5"),
    ([F32, F32 * np.nan], "images[1]: values from nan"),
])
def test_images_that_do_not_fit_are_refused(weights, images, words):
    with pytest.raises(UserError) as caught:
        fuse(images, weights=weights)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_weights_and_presets_that_do_not_exist_are_refused(weights, monkeypatch, tmp_path):
    monkeypatch.setattr("edmf_jax.weights.store._PRETRAINED", tmp_path)
    with pytest.raises(UserError, match=r"weights: none given.*`edmf export .*`edmf import-mufusion "):
        fuse(shots(SIZE))
    with pytest.raises(MissingFileError, match="no-such-name"):
        fuse(shots(SIZE), weights="no-such-name")
    with pytest.raises(UserError, match="preset 'best' is unknown; use one of photo, paper"):
        fuse(shots(SIZE), weights=weights, preset="best")
    with pytest.raises(UserError, match="JAX_ENABLE_X64=1"):
        fuse(shots(SIZE), weights=make_weights("float64"))


def test_too_little_memory_is_one_line(weights, monkeypatch):
    def exhausted(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nlong story")

    monkeypatch.setattr(tiling, "_fuse_padded", exhausted)
    with pytest.raises(UserError, match=r"images\[0\]: 20×17 px take more memory than there is"):
        fuse(shots(SIZE), weights=weights)


# --- files


@pytest.fixture
def folder(tmp_path, weights):
    """Sources `a.png`, `b.png` and a weights folder `w`."""
    for name, image in zip(("a.png", "b.png"), shots()):
        write_image(tmp_path / name, image)
    save_weights(tmp_path / "w", weights.params, weights.config)
    return tmp_path


def fuse_in(folder, out="out.png", a="a.png", b="b.png", **options):
    options = {"weights": folder / "w", "preset": "paper"} | options
    return fuse_files([folder / a, folder / b], folder / out, **options)


def refused(folder, *words, **arguments):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(UserError) as caught:
        fuse_in(folder, **arguments)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_files_are_fused_as_arrays_are(folder, weights):
    fused = fuse_in(folder)
    np.testing.assert_array_equal(fused, fuse(shots(), weights=weights))
    np.testing.assert_array_equal(read_image(folder / "out.png"), fused)


def test_nothing_is_overwritten_unless_told_to(folder):
    (folder / "out.png").write_bytes(b"mine")
    refused(folder, "out.png: already there", "--force")
    fuse_in(folder, force=True)
    assert read_image(folder / "out.png").shape == (*SIZE, 3)
    refused(folder, "a.png: this is one of the sources", out="a.png", force=True)


def test_shipped_weights_are_the_default(folder, weights, monkeypatch):
    (folder / "shipped").mkdir()
    save_weights(folder / "shipped" / "edmf", weights.params, weights.config)
    monkeypatch.setattr("edmf_jax.weights.store._PRETRAINED", folder / "shipped")
    np.testing.assert_array_equal(fuse_in(folder, weights=None), fuse(shots(), weights=weights))


def test_what_only_photographs_have_is_refused_by_the_paper(folder):
    refused(folder, "align='none' is for the preset \"photo\"", align="none")
    refused(folder, "crop=True is for", crop=True)
    refused(folder, "map.png: a map is made by the preset", save_map=folder / "map.png")


def test_the_reference_s_metadata_come_along(folder):
    write_image(folder / "a2.png", shots()[0], Metadata(dpi=(240.0, 120.0)))
    fuse_in(folder, a="a2.png", out="out.jpg")
    assert read_metadata((folder / "out.jpg").read_bytes()).dpi == (240, 120)
    fuse_in(folder, a="b.png", b="a2.png", out="other.jpg")
    assert read_metadata((folder / "other.jpg").read_bytes()).dpi is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_single_channel_files_give_a_single_channel_file_of_their_depth(folder, weights, dtype):
    for name, image in zip(("a.tif", "b.tif"), shots(SIZE, dtype)):
        write_image(folder / name, image)
    fuse_in(folder, out="out.tif", a="a.tif", b="b.tif")
    back = read_image(folder / "out.tif")
    assert back.shape == SIZE and back.dtype == dtype
    np.testing.assert_array_equal(back, fuse(shots(SIZE, dtype), weights=weights))


def test_targets_are_checked_before_the_work(folder):
    refused(folder, "suffix '.gif'", "use one of .png", out="out.gif")
    refused(folder, "does not exist; create it first", out="no/out.png")
    (folder / "folder.png").mkdir()
    refused(folder, "this is a folder", out="folder.png")
    os.link(folder / "b.png", folder / "hard.png")
    (folder / "soft.png").symlink_to("a.png")
    for out in ("a.png", "b.png", "hard.png", "soft.png"):
        refused(folder, f"{out}: this is one of the sources", out=out)


def test_sources_are_named_in_the_errors(folder):
    write_image(folder / "small.png", shots((15, 40))[0])
    write_image(folder / "gray.png", shots(SIZE)[0])
    write_image(folder / "deep.png", shots(dtype=np.uint16)[0])
    (folder / "half.png").write_bytes((folder / "b.png").read_bytes()[:200])
    refused(folder, "small.png: 40×15 px", "at least 16×16", b="small.png")
    refused(folder, "a.png is color", "gray.png is single-channel", b="gray.png")
    refused(folder, "a.png is uint8", "deep.png is uint16", b="deep.png")
    refused(folder, "half.png", "truncated", b="half.png")
    refused(folder, "gone.png: no such file", b="gone.png")
    refused(folder, ".jpg cannot hold 16-bit pictures", a="deep.png", b="deep.png", out="out.jpg")
    refused(folder, "preset 'x' is unknown", preset="x")
    with pytest.raises(UserError, match="got 3; the preset"):
        fuse_files([folder / "a.png"] * 3, folder / "out.png", weights=folder / "w", preset="paper")


def test_the_public_name_stays_a_function():
    """A module of the same name would take its place as soon as it is imported."""
    import edmf_jax

    for _ in range(2):
        for name in edmf_jax.__all__:
            assert callable(getattr(edmf_jax, name)), name

"""The methods that --method can name, and the one-line errors for everything else."""

import numpy as np
import pytest

from edmf_jax.data.pairs import Scene
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.evaluation.methods import find_pictures, make_methods, with_slugs
from edmf_jax.io.images import write_image
from edmf_jax.weights.store import save_weights
from tests.helpers.networks import PARAMS

IDS = ["1", "2", "10"]


def make(*specs, ids=IDS, tiling="whole"):
    return make_methods(specs, ids, tiling=tiling)


@pytest.fixture
def scene():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 40, 44, 3), np.uint8)
    return Scene("10", a, b)


def touch(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"x")


def test_baselines_and_labels(scene):
    methods = make("average", "plain=max-sf")
    assert [(m.name, m.spec) for m in methods] == [("average", "average"), ("plain", "max-sf")]
    np.testing.assert_array_equal(methods[0].fuse(scene), (scene.a.astype(int) + scene.b + 1) // 2)


def test_weights_are_distinguished_by_their_hash(tmp_path, scene):
    config = {"model": {"width": 2, "dtype": "float32"}}
    save_weights(tmp_path / "one", PARAMS, config)
    save_weights(tmp_path / "two", {**PARAMS, "conv1": {k: 2 * v for k, v in PARAMS["conv1"].items()}}, config)
    one, two = make(str(tmp_path / "one"), f"mine={tmp_path / 'two'}")
    assert (one.name, two.name) == ("one", "mine")
    assert len(one.entry["sha256"]) == 64 and one.entry["sha256"] != two.entry["sha256"]
    assert one.fuse(scene).shape == scene.a.shape


@pytest.mark.parametrize(("spec", "words"), [
    ("avrage", r"--method 'avrage' is neither .* \(did you mean average\?\); .* laplacian-pyramid"),
    ("work/nothing", "--method 'work/nothing' is neither a folder of weights nor"),
    ("folder:/nowhere", "--method folder:/nowhere: there is no folder /nowhere"),
])
def test_unknown_methods_are_one_line_with_the_choices(spec, words):
    with pytest.raises(MissingFileError, match=words) as caught:
        make(spec)
    assert "\n" not in str(caught.value)


def test_no_two_rows_have_one_name(tmp_path):
    (tmp_path / "average").mkdir()
    with pytest.raises(UserError, match="2 methods would be called 'average' in the tables"):
        make("average", f"folder:{tmp_path / 'average'}")
    with pytest.raises(UserError, match="--method: none given"):
        make()


def test_folder_finds_its_pictures_by_number(tmp_path):
    touch(tmp_path, "fuse001.jpg", "u2fusion-2.png", "bg-10.TIF", "10.txt", "notes-1.md", "other.png", "7.png")
    assert {name: path.name for name, path in find_pictures(tmp_path, IDS).items()} == {
        "1": "fuse001.jpg", "2": "u2fusion-2.png", "10": "bg-10.TIF"}


def test_folder_prefers_the_exact_name_and_refuses_to_guess(tmp_path):
    touch(tmp_path, "2.png", "old-2.png", "garden.jpg", "01.png")
    assert find_pictures(tmp_path, ["2", "garden", "01", "1"]) == {
        "2": tmp_path / "2.png", "garden": tmp_path / "garden.jpg", "01": tmp_path / "01.png", "1": tmp_path / "01.png"}
    touch(tmp_path, "2.jpg")
    with pytest.raises(UserError, match=r"2\.jpg and 2\.png could both be the picture of pair 2; name it"):
        find_pictures(tmp_path, ["2"])


def test_folder_names_what_is_missing_and_what_has_another_size(tmp_path, scene):
    write_image(tmp_path / "10.png", scene.a[:, :-1])
    (method,) = make(f"folder:{tmp_path}")
    assert method.missing == ("1", "2") and not method.as_stored  # lossless: stored as other methods' pictures
    with pytest.raises(UserError, match=r"10\.png: 43×40 px, but the sources of pair 10 have 44×40 px"):
        method.fuse(scene)


def test_folder_pictures_of_16_bits_and_in_color_become_what_is_scored(tmp_path, scene):
    write_image(tmp_path / "10.png", scene.a.astype(np.uint16) * 257)
    (method,) = make(f"folder:{tmp_path}")
    np.testing.assert_array_equal(method.fuse(scene), scene.a)
    gray = method.fuse(Scene("10", scene.a[..., 0], scene.b[..., 0]))
    expected = scene.a @ np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
    np.testing.assert_array_equal(gray, np.floor(expected + 0.5))


def test_slugs_are_safe_unique_and_kept():
    methods = make("a b·ü=average", "A-b=max-sf", "summary.md=guided-filter", "ü=laplacian-pyramid")
    slugs = [m.slug for m in with_slugs(methods, [])]
    assert slugs == ["a-b", "A-b-2", "summary.md-2", "method"]
    known = [{"name": "A-b", "slug": "first"}, {"name": "gone", "slug": "a-b"}]
    assert [m.slug for m in with_slugs(methods[:2], known)] == ["a-b-2", "first"]

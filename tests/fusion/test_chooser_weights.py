"""`weights="chooser"`: the network that chooses among the shots, from the option to the picture."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from edmf_jax.cli import main
from edmf_jax.core import chooser as core
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.fuse import fuse
from edmf_jax.fusion.settings import HAND_MADE, check_weights, make_options, resolve_weights, used_weights
from edmf_jax.fusion.stack import chooser_engine, reblur
from edmf_jax.fusion.stack.options import Chooser
from edmf_jax.io.images import read_image, write_image
from edmf_jax.weights.chooser_onnx import to_onnx
from edmf_jax.weights.chooser_params import find_chooser, load_chooser, save_chooser, shipped_models
from edmf_jax.weights.store import load_weights
from tests.helpers.scenes import exposed, shots

FILE = "params.npz"


@pytest.fixture(scope="module")
def pictures():
    """Two shots, each blurred elsewhere, and their mean; uint8."""
    near, far = (exposed(shot) for shot in shots(72, 96, seed=3)[1:3])
    middle = ((near.astype(np.uint16) + far) // 2).astype(np.uint8)
    return [near, far, middle]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of small networks: "untrained", and "trained" with some last layer."""
    folder = tmp_path_factory.mktemp("networks")
    abstract = jax.eval_shape(lambda key: core.init_params(key, core.SIZES["small"]), jax.random.key(0))
    rng = np.random.default_rng(0)  # compiling `init_params` takes longer than all else here
    params = jax.tree.map(lambda x: 0.07 * rng.standard_normal(x.shape).astype(np.float32), abstract)
    for name, strength in (("untrained", 0), ("trained", 5)):
        (folder / name).mkdir()
        head = {leaf: strength * x for leaf, x in params["head"].items()}
        save_chooser(folder / name / FILE, params | {"head": head}, {"size": "small"})
    return folder


def test_the_shipped_network_is_small_and_says_where_it_comes_from():
    file = find_chooser("chooser")
    assert file.stat().st_size < 2e6
    with np.load(file) as arrays:
        about = json.loads(arrays["about"].tobytes())
    assert about["size"] == "medium" and "CC BY 4.0" in about["license"]
    assert "/work" not in json.dumps(about)
    card = (file.parent / "README.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("151,904", "CC BY 4.0", "MFI-WHU", "Where it fails"))


@pytest.mark.parametrize("given, wrong", [
    ({"weights": "chooser", "preset": "paper"}, 'a network that chooses among shots, but preset="paper" needs one'),
    ({"weights": "chooser", "pixels": "network"}, 'a network that chooses among shots, but pixels="network" needs one'),
    ({"weights": "none", "preset": "paper"}, "weights='none' is no network"),
    ({"weights": "none", "pixels": "network"}, "weights='none' is no network"),
    ({"weights": "edmf", "pixels": "shots"}, 'or give weights="chooser"'),
])
def test_weights_of_another_kind_are_refused_in_a_line(given, wrong, pictures, tmp_path, capsys):
    with pytest.raises(UserError, match=wrong) as error:
        fuse(pictures[:2], **given)
    assert "\n" not in str(error.value)
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    out = tmp_path / "out.png"  # the shots do not exist: this is found before they are looked for
    assert main.main(["fuse", "a.png", "b.png", "-o", str(out), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(error.value) in line


def test_the_command_refuses_a_gpu_where_there_is_none(capsys):
    assert main.main(["fuse", "a.png", "b.png", "-o", "out.png", "--weights", "chooser", "--device", "gpu"]) == 2
    assert "--device gpu: JAX finds no GPU here" in capsys.readouterr().err


def test_names_and_files_say_which_network_is_meant(networks, tmp_path, monkeypatch):
    assert find_chooser(networks / "trained") == find_chooser(networks / "trained" / FILE)
    for other in ("edmf", "none", str(tmp_path), tmp_path / "missing"):
        assert find_chooser(other) is None
    photo = make_options("photo", 2, "chooser")
    assert photo.pixels == "shots"
    for default in (None, "chooser"):
        assert used_weights(photo, default).name == "chooser"
    assert used_weights(photo, HAND_MADE) is None
    assert used_weights(make_options("photo", 2, None, pixels="network"), None).name == "edmf"
    assert make_options("photo", 2, "edmf").pixels == "network"
    check_weights("chooser", "photo", "shots")
    with pytest.raises(UserError, match=r"for `edmf fuse` and `edmf_jax\.fuse` alone"):
        load_weights("chooser")
    with pytest.raises(MissingFileError, match="neither a folder here nor"):
        resolve_weights("choser")
    # In the working directory, a folder of the name does not take the place of the shipped network.
    (tmp_path / "chooser").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_chooser("chooser").parent.parent.name == "pretrained"
    assert find_chooser(Path("chooser")) is None


def test_the_network_is_the_default(pictures):
    fused = fuse(pictures, align="none")
    np.testing.assert_array_equal(fuse(pictures, "chooser", align="none"), fused)
    assert np.abs(fuse(pictures, "none", align="none").astype(int) - fused).max() > 0


def test_an_untrained_network_gives_the_hand_made_picture_and_a_trained_one_another(networks, pictures, monkeypatch):
    pytest.importorskip("onnx")
    hand_made = fuse(pictures, "none", align="none").astype(int)
    monkeypatch.setattr("edmf_jax.fusion.stack.chooser.CAP_BESIDE_NETWORK", reblur.CAP)
    untrained = fuse(pictures, networks / "untrained", align="none")
    np.testing.assert_array_equal(untrained, hand_made)
    assert np.abs(fuse(pictures, networks / "trained", align="none") - hand_made).max() > 5


def test_the_order_of_the_other_shots_changes_no_bit(networks, pictures):
    pytest.importorskip("onnx")
    near, far, middle = pictures
    weights = networks / "trained" / FILE
    np.testing.assert_array_equal(fuse([near, far, middle], weights, align="none"),
                                  fuse([near, middle, far], weights, align="none"))


def test_a_large_picture_is_chosen_reduced(networks, pictures, monkeypatch):
    pytest.importorskip("onnx")
    full = fuse(pictures, networks / "trained", align="none").astype(int)
    monkeypatch.setattr("edmf_jax.fusion.stack.reduced.MOST_PX", 4000)  # of 6,912
    small = fuse(pictures, networks / "trained", align="none").astype(int)
    assert np.abs(small - full).max() > 5  # an arbitrary network sees something else there
    assert small.shape == full.shape


def test_the_command_with_the_shipped_network(pictures, tmp_path, capsys):
    files = [tmp_path / "in" / name / f"{number}.png" for name in ("one", "two") for number in range(3)]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, pictures[number % 3])

    def run(*words):
        assert main.main(["fuse", *map(str, words), "--align", "none", "--device", "cpu"]) == 0
        assert "the network" not in capsys.readouterr().err  # a line only if something takes longer than it might

    run(*files[:3], "-o", tmp_path / "out.png", "--report", tmp_path / "page.html")
    expected = fuse(pictures, "chooser", align="none")
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), expected)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "chooser, a network that chooses among the shots; it ran in OpenCV" in page
    run(*files[:3], "-o", tmp_path / "none.png", "--weights", "none")
    np.testing.assert_array_equal(read_image(tmp_path / "none.png"), fuse(pictures, "none", align="none"))
    run("--stacks", tmp_path / "in", "-o", tmp_path / "batch")
    np.testing.assert_array_equal(read_image(tmp_path / "batch" / "two.png"), expected)
    run(*files[:3], "-o", tmp_path / "slabs", "--slab", "3:0")
    np.testing.assert_array_equal(read_image(tmp_path / "slabs" / "slab-01.png"), expected)


def test_the_shipped_graphs_are_those_of_the_shipped_parameters():
    pytest.importorskip("onnx")
    file = find_chooser("chooser")
    assert shipped_models(file) == to_onnx(load_chooser(file)[0])


@pytest.mark.slow
def test_without_onnx_jax_computes_the_same(networks, pictures, monkeypatch):
    pytest.importorskip("onnx")
    expected = fuse(pictures, networks / "trained", align="none").astype(int)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    chooser_engine.engine.cache_clear()
    lines = []
    weights = resolve_weights(networks / "trained", lines.append)
    assert isinstance(weights, Chooser) and "runs in JAX on the device" in lines[0]
    assert np.abs(fuse(pictures, weights, align="none") - expected).max() <= 1
    chooser_engine.engine.cache_clear()

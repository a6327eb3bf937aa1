"""The methods that --method can name, and the one-line errors for everything else."""

import types

import numpy as np
import pytest

from edmf_jax.data.pairs import Scene
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.evaluation import methods
from edmf_jax.evaluation.methods import make_methods, with_slugs
from edmf_jax.evaluation.pictures import find_pictures
from edmf_jax.io.images import write_image
from edmf_jax.methods import imported, registry
from edmf_jax.methods.base import MethodInfo
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


def test_names_and_labels(scene):
    methods = make("average", "plain=max-sf")
    assert [(m.name, m.spec) for m in methods] == [("average", "average"), ("plain", "max-sf")]
    np.testing.assert_array_equal(methods[0].fuse(scene), (scene.a.astype(int) + scene.b + 1) // 2)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A method with imported weights, the only one but `average` and one that is slow."""
    monkeypatch.setenv("EDMF_METHODS_DIR", str(tmp_path / "methods"))
    infos = {name: MethodInfo(name=name, title=name, paper="", year=0, doi="", verified="not", license="MIT",
                              source="toy.pth of A/B", tensors={"scale": ()} if name != "slow" else {},
                              in_all=name != "slow") for name in ("toy", "bare", "slow")}

    def load(weights=None, *, as_published=False, progress=None):
        def fuse(images):
            if progress:
                progress(1, 2)
                progress(2, 2)
            return images[0] // (2 if as_published else 1)

        return fuse

    modules = {name: types.SimpleNamespace(INFO=info, load=load, read_weights=lambda path: {"scale": np.float32(2)})
               for name, info in infos.items()}
    found = modules | {"average": registry.module_of("average")}
    monkeypatch.setattr(registry, "MODULES", dict.fromkeys(found, ""))
    monkeypatch.setattr(registry, "module_of", found.__getitem__)
    (tmp_path / "toy.pth").write_bytes(b"weights")
    imported.import_weights(found["toy"], str(tmp_path / "toy.pth"))


def test_a_method_with_imported_weights(toy, scene):
    (method,) = make("mine=toy")
    assert (method.name, method.spec) == ("mine", "toy")
    assert len(method.entry["sha256"]) == 64 and method.entry["provenance"]["license"] == "MIT"
    assert "as_published" not in method.entry
    np.testing.assert_array_equal(method.fuse(scene), scene.a)
    (published,) = make_methods(["toy"], IDS, tiling="whole", as_published=True)
    assert published.entry["as_published"] is True
    np.testing.assert_array_equal(published.fuse(scene), scene.a // 2)
    with pytest.raises(MissingFileError, match=r"--method bare needs its authors' weights.*`edmf import bare FILE`"):
        make("bare")


def test_all_are_those_that_can_run_in_reasonable_time(toy):
    said = []
    methods = make_methods(["all", "plain=average"], IDS, tiling="whole", log=said.append)
    assert [method.name for method in methods] == ["toy", "average", "plain"]
    assert len(said) == 2 and "leaves out bare, whose weights are not imported" in said[0] and "out slow" in said[1]
    with pytest.raises(UserError, match="'all' means many methods, so it takes no name of its own; leave x= out"):
        make("x=all")


def test_a_slow_method_shows_its_steps(toy, scene, monkeypatch):
    shown = []

    class Bar:
        def __init__(self, total, **options):
            self.n = 0
            shown.append((options["desc"], total))

        def update(self, steps):
            self.n += steps
            shown.append(self.n)

        def close(self):
            shown.append("closed")

    monkeypatch.setattr(methods, "tqdm", Bar)
    (method,) = make("slow")
    for _ in range(2):
        np.testing.assert_array_equal(method.fuse(scene), scene.a)
    assert shown == [("slow", 2), 1, 2, "closed"] * 2


def test_an_error_of_a_method_names_it_and_the_pair():
    a = np.zeros((100, 140, 3), np.uint8)
    with pytest.raises(UserError, match=r"--method exposure-fusion, pair 7: .* of one shape"):
        make("exposure-fusion")[0].fuse(Scene("7", a, a[1:]))


def test_a_method_that_only_another_program_runs_is_named_with_the_reason(monkeypatch, tmp_path):
    with pytest.raises(MissingFileError, match=r"--method MDLSR: MDLSR is not here: .* MATLAB P-code.* folder:DIR"):
        make("MDLSR")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingFileError, match="--method openfocus:stackmffv3: the program `openfocus` is not on the"):
        make("openfocus:stackmffv3")


def test_a_folder_of_weights_may_have_the_name_of_a_method(tmp_path, monkeypatch, scene):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "average").mkdir()
    np.testing.assert_array_equal(make("average")[0].fuse(scene), (scene.a.astype(int) + scene.b + 1) // 2)
    (tmp_path / "average").rmdir()
    save_weights("average", PARAMS, {"model": {"width": 2, "dtype": "float32"}})
    assert len(make("average")[0].entry["sha256"]) == 64


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

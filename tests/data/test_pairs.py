"""Scenes for evaluation: which ones, in which form, and what is refused."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from edmf_jax.core.color import to_gray
from edmf_jax.core.exposures import CONDITIONS
from edmf_jax.data.pairs import open_pairs
from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.errors import UserError
from tfds_edmf.edmf_synthetic.exposure import reexpose

TINY = "edmf_synthetic/tiny"


@pytest.fixture(scope="module")
def open_tiny(data_dir):
    def open_tiny(split="train", **options):
        return open_pairs(TINY, split, data_dir=str(data_dir), log=lambda line: None, **options)

    return open_tiny


@pytest.fixture(scope="module")
def examples(data_dir):
    builder = open_dataset(TINY, str(data_dir), log=lambda line: None)
    return list(builder.as_dataset(split="train").as_numpy_iterator())


def test_scenes_are_the_stored_pictures_in_order(open_tiny, examples):
    pairs = open_tiny()
    assert (pairs.dataset, pairs.split, pairs.ids) == (TINY, "train", list("012345"))
    assert pairs.has_truth and pairs.is_color and pairs.data_bytes > 0
    scenes = [pairs.decode(record) for record in pairs.records()]
    for scene, example in zip(scenes, examples, strict=True):
        assert scene.id == str(example["id"])
        for picture, name in ((scene.a, "source_a"), (scene.b, "source_b"), (scene.truth, "truth")):
            np.testing.assert_array_equal(picture, example[name])


def test_parts_and_limits(open_tiny):
    assert open_tiny("train[2:]").ids == list("2345")
    assert open_tiny("train[2:]", limit=2).ids == list("23")
    assert open_tiny(limit=99).ids == list("012345")
    assert open_tiny(every=2).ids == list("135")
    assert open_tiny("train[1:]", every=2, limit=1).ids == ["2"]
    limited = open_tiny(limit=1)
    assert [record.id for record in limited.records()] == ["0"]
    assert limited.data_bytes == open_tiny().data_bytes  # of the stored split, to recognize the data set


def test_the_truth_at_an_exposure_that_the_data_set_states(open_tiny, examples):
    for at in ("reference", "average"):
        pairs = open_tiny(truth_at=at)
        for record, example in zip(pairs.records(), examples, strict=True):
            scene = pairs.decode(record)
            first, second = (reexpose(example["truth"], example[f"gain_{x}"], example[f"gamma_{x}"]).astype(int)
                             for x in "ab")
            expected = first if at == "reference" else (first + second) / 2
            assert np.abs(scene.truth - expected).max() <= 1
            np.testing.assert_array_equal(scene.a, example["source_a"])
    assert {(e["gain_a"], e["gamma_a"]) for e in examples} != {(1.0, 1.0)}
    open_tiny(truth_at="reference", exposures=CONDITIONS["published"])
    with pytest.raises(UserError, match=r"--exposures=quarter-stop: the sources of .* have exposures of their own"):
        open_tiny(truth_at="reference", exposures=CONDITIONS["quarter-stop"])


def test_gray_levels_and_exposures(open_tiny, examples):
    example = examples[0]
    gray = open_tiny(gray=True)
    assert not gray.is_color
    np.testing.assert_array_equal(gray.decode(next(gray.records())).a, to_gray(example["source_a"]))
    condition = CONDITIONS["half-stop-gamma"]
    exposed = open_tiny(exposures=condition, gray=True)
    a, b, truth = (to_gray(x) for x in condition.apply(*(example[n] for n in ("source_a", "source_b", "truth"))))
    scene = exposed.decode(next(exposed.records()))
    for picture, expected in ((scene.a, a), (scene.b, b), (scene.truth, truth)):  # exposed in color, then gray
        np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(("split", "options", "words"), [
    ("valid", {}, "--split=valid: edmf_synthetic/tiny has test, train"),
    ("train[:x]", {}, r"--split=train\[:x\]: edmf_synthetic/tiny has test, train, and parts"),
    ("train[3:3]", {}, r"--split=train\[3:3\]: edmf_synthetic/tiny holds no pairs there"),
    ("train", {"limit": 0}, "--limit=0: at least one pair is needed"),
    ("train", {"every": 0}, r"--every=0: must be 1 \(all pairs\) or larger"),
    ("train", {"every": 7}, "--split=train with --every=7: edmf_synthetic/tiny holds no pairs there"),
])
def test_mistakes_are_one_line(open_tiny, split, options, words):
    with pytest.raises(UserError, match=words) as caught:
        open_tiny(split, **options)
    assert "\n" not in str(caught.value)

"""Opening a data set, and reading exactly the stored rows that were asked for."""

import re

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from edmf_jax.data.tfds_reader import StoredRange, dataset_name, decode_files, open_dataset, read_rows, stored_ranges
from edmf_jax.errors import UserError
from edmf_jax.io.images import decode_image

TINY = "edmf_synthetic/tiny"  # 6 training and 2 test pairs, numbered from 0


@pytest.fixture(scope="module")
def builder(data_dir):
    return open_dataset(TINY, str(data_dir), log=lambda line: None)


def ids(builder, split, *rows):
    return [int(row["id"]) for row in read_rows(builder, split, *rows)]


@pytest.mark.parametrize(("split", "ranges"), [
    ("train", [("train", 0, 6)]),
    ("train[50%:]", [("train", 3, 6)]),
    ("test+train[:2]", [("test", 0, 2), ("train", 0, 2)]),
])
def test_a_split_is_ranges_of_stored_rows(builder, split, ranges):
    assert stored_ranges(builder, split) == [StoredRange(*r) for r in ranges]


@pytest.mark.parametrize("split", ["validation", "train[", "train[:x]", "train[1:2:3]"])
def test_a_split_that_does_not_exist_is_one_line_with_the_option(builder, split):
    with pytest.raises(UserError, match=re.escape(f"--split={split}: {TINY} has test, train, and parts")) as caught:
        stored_ranges(builder, split, f"--split={split}")
    assert "\n" not in str(caught.value)


def test_exactly_the_rows_asked_for_are_read_in_stored_order(builder):
    assert ids(builder, "train") == [0, 1, 2, 3, 4, 5]
    assert ids(builder, "train", 2, 4) == [2, 3]
    assert ids(builder, "train[2:]", 1, 3) == [3, 4]
    assert ids(builder, "train", 4, 99) == [4, 5]
    assert ids(builder, "train", 3, 3) == ids(builder, "train", 9, 12) == []


def test_positions_count_across_the_parts_of_a_split(builder):
    split = "test+train[3:]"
    assert ids(builder, split) == [0, 1, 3, 4, 5]
    assert ids(builder, split, 1, 3) == [1, 3]
    assert ids(builder, split, 2) == [3, 4, 5]


def test_images_come_as_the_stored_bytes(builder):
    row = next(read_rows(builder, "train", 1, 2))
    example = list(builder.as_dataset(split="train").as_numpy_iterator())[1]
    for name in ("source_a", "truth"):
        assert row[name].startswith(b"\x89PNG")
        np.testing.assert_array_equal(decode_image(row[name], name), example[name])
    assert row["gain_a"] == example["gain_a"]


def test_names_of_data_sets(builder, data_dir):
    assert dataset_name(builder) == TINY
    with pytest.raises(UserError, match="name='edmff' is no data set of ours"):
        open_dataset("edmff", str(data_dir))


def png(*shape, dtype=np.uint8):
    cv2 = pytest.importorskip("cv2")
    return cv2.imencode(".png", np.zeros(shape, dtype))[1].tobytes()


def test_decoded_pictures_may_mix_gray_and_color():
    images = decode_files({"source_a": png(5, 7, 3), "source_b": png(5, 7)}, TINY, 3)
    assert images["source_a"].shape == (5, 7, 3) and images["source_b"].shape == (5, 7)
    assert all(image.dtype == np.uint8 for image in images.values())


@pytest.mark.parametrize(("second", "words"), [
    (png(5, 8), "edmf/table2 pair 3: source_b is uint8 (5, 8), source_a is (5, 7) (height, width)"),
    (png(5, 7, dtype=np.uint16), "edmf/table2 pair 3: source_b is uint16 (5, 7)"),
    (png(5, 7)[:-20], "edmf/table2 3 source_b"),
    (b"", "edmf/table2 3 source_b: the file is empty"),
])
def test_pictures_that_do_not_fit_are_named(second, words):
    with pytest.raises(UserError, match=re.escape(words)):
        decode_files({"source_a": png(5, 7), "source_b": second}, "edmf/table2", 3)

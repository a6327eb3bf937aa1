"""10 and 12 bits in 16: brightness is judged against the data's own range; the result has the same range."""

import numpy as np
import pytest

from edmf_jax.fusion.align import align_files
from edmf_jax.fusion.fuse import fuse, fuse_files
from edmf_jax.fusion.pixels import shrink_back, stretch, white_for
from edmf_jax.fusion.stack import PhotoOptions, fuse_photos
from edmf_jax.io.images import read_image, write_image
from tests.helpers.networks import WEIGHTS
from tests.helpers.scenes import shots

ALIGNED = PhotoOptions(align="none")


def levels(image, bits, factor=1.0):
    return np.rint((2**bits - 1) * factor * image).astype(np.uint16)


@pytest.mark.parametrize(("largest", "white"), [(0, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383),
                                                (16384, 65535), (65535, 65535)])
def test_the_range_is_the_smallest_that_holds_the_data(largest, white):
    assert white_for(largest) == white


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_stretching_loses_nothing(bits):
    white = 2**bits - 1
    values = np.arange(white + 1, dtype=np.uint16)
    wide = stretch(values, white)
    assert wide[0] == 0 and wide[-1] == 65535
    np.testing.assert_array_equal(shrink_back(wide, white), values)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("count", [2, 3])
def test_the_result_is_that_of_the_same_picture_in_16_bits(bits, count):
    given = [*shots(90, 120, seed=1)[1:], shots(90, 120, seed=1)[0] * 0.9][:count]
    wide = fuse_photos([levels(x, 16) for x in given], options=ALIGNED)
    narrow = fuse_photos([levels(x, bits) for x in given], options=ALIGNED)
    assert narrow.image.dtype == np.uint16 and narrow.image.max() < 2**bits
    difference = np.abs(narrow.image / (2**bits - 1) - wide.image / 65535) * 2**bits
    # Beside edges of depth one of a few blurs is chosen, by as little as rounding.
    assert np.quantile(difference, 0.999) < 2.5 and difference.max() < 8
    assert (narrow.sources == wide.sources).mean() > 0.99


def test_where_a_shot_is_the_sharpest_its_very_values_are_kept():
    _, a, b = (levels(x, 10) for x in shots(120, 160, seed=2))
    fused = fuse([a, b], align="none")
    np.testing.assert_array_equal(fused[:, :50], a[:, :50])


def test_the_range_is_that_of_the_whole_stack():
    # The first shots alone would fit into 10 bits; they are dark shots of 12 bits, and one is nearly black.
    dark, darker, bright = (levels(x, 12, factor) for x, factor in zip(shots(90, 120, seed=3), (0.2, 0.01, 1)))
    reads = []
    shot = lambda image: lambda: (reads.append(image.max()), image)[1]
    fused = fuse_photos([shot(dark), shot(bright)], options=ALIGNED)
    wide = fuse_photos([stretch(x, 4095) for x in (dark, bright)], options=ALIGNED)
    np.testing.assert_array_equal(fused.image, shrink_back(wide.image, 4095))
    assert fused.stops == wide.stops
    without = fuse_photos([dark, darker, bright], options=ALIGNED)
    assert without.left_out == {1: "it is black all over"}
    np.testing.assert_array_equal(without.image, fused.image)


def test_16_bits_are_not_read_more_often():
    count = [0, 0]

    def shot(number, image):
        def read():
            count[number] += 1
            return image

        return read

    wide = [shot(number, levels(x, 16)) for number, x in enumerate(shots(60, 80)[1:])]
    fuse_photos(wide, options=ALIGNED)
    assert count == [1, 1]


def test_beside_an_8_bit_reference_each_shot_has_its_own_range():
    _, a, b = shots(90, 120, seed=4)
    first = np.rint(255 * a).astype(np.uint8)
    narrow = fuse_photos([first, levels(b, 10)], options=ALIGNED)
    wide = fuse_photos([first, levels(b, 16)], options=ALIGNED)
    assert narrow.image.dtype == np.uint8
    np.testing.assert_allclose(narrow.image.astype(int), wide.image, atol=2)


def test_preset_paper_sees_the_full_range():
    a, b = (levels(x[..., 0], 10) for x in shots(40, 48, seed=5)[1:])
    seen = fuse([a, b], weights=WEIGHTS, preset="paper")
    wide = fuse([stretch(x, 1023) for x in (a, b)], weights=WEIGHTS, preset="paper")
    np.testing.assert_array_equal(seen, shrink_back(wide, 1023))
    assert wide.max() > 1023


def test_files_keep_their_range(tmp_path):
    pictures = [levels(x[..., 0], 10) for x in shots(90, 120, seed=6)[1:]]
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, picture in zip(paths, pictures):
        write_image(path, picture)
    shown = {}

    def make_page(record, shots, **_):
        shown.update(image=record.image, shots=[shot() for shot in shots])
        return b"page"

    fuse_files(paths, tmp_path / "out.tif", align="none", report=tmp_path / "page.html", make_page=make_page)
    back = read_image(tmp_path / "out.tif")
    assert back.dtype == np.uint16 and 900 < back.max() < 1024
    np.testing.assert_array_equal(shown["image"], stretch(back, 1023))  # the report shows them bright
    assert [shot.max() > 40000 for shot in shown["shots"]] == [True, True]
    for (target, _), picture in zip(align_files(paths, tmp_path / "aligned", align="none", suffix=".tif"), pictures):
        np.testing.assert_array_equal(read_image(target), picture)

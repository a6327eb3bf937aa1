"""The layers of a pair: sizes, quality levels, differences."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edmf_jax.data.pairs import Scene
from edmf_jax.reports.evaluation_pictures import difference, encode_pair, make_pictures
from edmf_jax.reports.picture_layers import DETAIL_LEVELS
from tests.helpers.reports import decoded, make_scene


@pytest.mark.parametrize(("shape", "color"), [((16, 16), False), ((8, 30), True), ((2000, 3000), False)])
def test_pictures_of_any_size(shape, color):
    scene = make_scene("s", *shape, color=color, truth=True)
    pictures = make_pictures(scene, ["m", "gone"], {"m": scene.a, "gone": None}.get)
    assert (pictures.height, pictures.width) == shape and pictures.absent == {"m1": "no picture file"}
    assert ("mask" in pictures.layers) == (min(shape) >= 10)
    with ThreadPoolExecutor(2) as pool:
        for level in (DETAIL_LEVELS[0], DETAIL_LEVELS[-1]):
            pair = encode_pair(pictures, level, pool)
            assert max(pair["whole"]) == min(level.whole_px, max(shape))
            for key, parts in pair["layers"].items():
                assert decoded(parts[0]).shape[1::-1] == tuple(pair["whole"]), key
                assert len(parts) == (1 + len(pair["crops"]) if max(shape) > level.whole_px else 1)
            for crop, part in zip(pair["crops"], pair["layers"]["m0"][1:]):
                y, x = crop["y"], crop["x"]
                original = scene.a[y : y + crop["height"], x : x + crop["width"]]
                assert decoded(part).shape[:2] == original.shape[:2] and max(original.shape) <= level.crop_px
                assert abs(decoded(part)[..., 1].mean() - original.mean()) < 2


def test_difference_is_to_the_truth_where_there_is_one(rng):
    a, b, fused, truth = rng.integers(0, 256, (4, 12, 14, 3), np.uint8)
    to_truth = np.abs(fused.astype(float) - truth).mean(-1)
    np.testing.assert_allclose(difference(Scene("", a, b, truth), fused), np.minimum(4 * to_truth, 255), atol=0.51)
    to_mean = np.abs(fused - (a.astype(float) + b) / 2).mean(-1)
    np.testing.assert_allclose(difference(Scene("", a, b), fused), np.minimum(4 * to_mean, 255), atol=0.51)
    assert difference(Scene("", a, b), fused[..., 0]).shape == (12, 14)  # a gray picture of color sources

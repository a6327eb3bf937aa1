"""Padding changes no metric, and hundreds of picture sizes need a dozen compiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from edmf_jax import metrics
from edmf_jax.core import valid_size
from edmf_jax.core.valid_size import ValidSize
from edmf_jax.metrics import bands, congruency, fourier
from tests.helpers import metrics_reference as reference
from tests.helpers.files import shared_file
from tests.helpers.triples import make_triple

QUICK = tuple(m for m in metrics.TABLE_2 if m.name in ("EN", "PSNR"))


def test_sizes_are_rounded_up_to_the_next_step():
    sizes = np.arange(1, 4000)
    steps = np.array([metrics.bucket_size(int(n)) for n in sizes])
    assert (steps >= sizes).all()
    assert (np.diff(steps) >= 0).all()
    assert all(metrics.bucket_size(int(n)) == n for n in set(steps))
    assert (steps[300:] / sizes[300:]).max() < 1.18
    with pytest.raises(ValueError, match="size_px=0"):
        metrics.bucket_size(0)


def test_the_papers_test_pairs_need_a_dozen_compiles():
    folder = shared_file("data/EDMF/Source_A/bg-A-1.jpg").parent
    sizes = []
    for number in range(1, 501):
        with Image.open(folder / f"bg-A-{number}.jpg") as picture:
            sizes.append(picture.size)
    buckets = [tuple(map(metrics.bucket_size, size)) for size in sizes]
    assert len(set(sizes)) > 190
    assert len(set(buckets)) <= 12
    assert np.prod(buckets, axis=1).sum() < 1.15 * np.prod(sizes, axis=1).sum()


def test_many_sizes_one_compile(rng):
    before = metrics.evaluate_padded._cache_size()
    for height, width in rng.integers(81, 97, (20, 2)):
        metrics.evaluate(*make_triple(int(height), int(width)), QUICK)
    assert metrics.evaluate_padded._cache_size() == before + 1


def pad_with_noise(triple):
    """As `pad_to_bucket`, with noise instead of zeros as padding."""
    padded, valid_size = metrics.pad_to_bucket(triple)
    noise = np.random.default_rng(0).integers(0, 256, padded.shape).astype(np.uint8)
    return np.where(np.arange(padded.shape[1])[:, None] < valid_size.height, np.where(
        np.arange(padded.shape[2]) < valid_size.width, padded, noise), noise), valid_size  # fmt: skip


# Odd height, even width; in buckets that other tests compile too.
CASES = [
    pytest.param(metrics.TABLE_2, np.stack(make_triple(257, 306)), id="Table 2"),
    pytest.param(metrics.FURTHER, np.stack(make_triple(45, 74)), id="further"),
]


@pytest.mark.parametrize(("columns", "triple"), CASES)
def test_padding_changes_nothing(columns, triple):
    black = metrics.evaluate_padded(*metrics.pad_to_bucket(triple), columns)
    np.testing.assert_array_equal(metrics.evaluate_padded(*pad_with_noise(triple), columns), black)


def test_eager_metrics_equal_the_whole_program():
    """Outside of `jit`, Q_P computes transforms of the true size instead of Bluestein's."""
    triple = CASES[1].values[1]
    whole = metrics.evaluate_padded(*metrics.pad_to_bucket(triple), metrics.FURTHER)
    np.testing.assert_allclose(list(metrics.evaluate(*triple, metrics.FURTHER).values()), whole, rtol=3e-6)


def test_the_pieces_of_an_eager_metric_are_compiled_once_for_a_shape():
    q_p = tuple(m for m in metrics.FURTHER if m.eager)
    assert [m.name for m in q_p] == ["Q_P"]
    pieces = [value for value in vars(congruency).values() if hasattr(value, "_cache_size")]
    assert len(pieces) == 6
    metrics.evaluate(*make_triple(45, 74), q_p)
    before = [piece._cache_size() for piece in pieces]
    metrics.evaluate(*make_triple(41, 65), q_p)
    assert [piece._cache_size() for piece in pieces] == before


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "triple"), CASES)
def test_padded_equals_unpadded(columns, triple):
    alone = jax.jit(lambda *planes: jnp.stack([m.function(*planes) for m in columns]))(*triple)
    np.testing.assert_allclose(metrics.evaluate_padded(*pad_with_noise(triple), columns), alone, rtol=3e-6)


def test_a_batch_of_different_sizes():
    triples = [make_triple(45, 74), make_triple(41, 65, seed=1)]
    padded = jnp.stack([metrics.pad_to_bucket(np.stack(t))[0] for t in triples])
    valid_size = ValidSize(jnp.array([45, 41]), jnp.array([74, 65]))
    one = lambda stack, valid_size: jnp.stack([f(*stack, valid_size=valid_size) for f in (metrics.qabf, metrics.psnr)])
    values = jax.jit(jax.vmap(one))(padded, valid_size)
    for value, triple in zip(values, triples):
        expected = [reference.TABLE_2[name](*triple) for name in ("Qabf", "PSNR")]
        np.testing.assert_allclose(value, expected, rtol=1e-5)


class TestBands:
    @pytest.mark.parametrize("height", [1, 127, 128, 129, 300])
    def test_sums_count_every_row_once(self, rng, height):
        x = rng.integers(0, 256, (2, 300 + 2, 9)).astype(np.uint8)
        total = bands.band_totals(lambda x: [x[..., 1:-1, :], x[..., 2:, :]], (x,), ValidSize(height, 7), halo=2)
        expected = [x[:, i : i + height, :7].sum((1, 2), dtype=int) for i in (1, 2)]
        np.testing.assert_array_equal(total, expected)

    def test_a_megapixel_in_float32(self, rng):
        """Naive sums in float32 are off by 10⁻³ here."""
        x = rng.random((1024, 1024), np.float32) + 100
        total = bands.band_totals(lambda x: [x], (x,), ValidSize(1024, 1024))
        assert float(total[0]) == pytest.approx(x.sum(dtype=np.float64), rel=3e-7)

    def test_the_fusion_barrier_changes_nothing(self, rng):
        x = jnp.asarray(rng.random((5, 6), np.float32))
        np.testing.assert_array_equal(jax.jit(lambda x: bands.cpu_fusion_barrier(lambda y: 2 * y, x))(x), 2 * x)


def test_replicated_edges_are_those_of_the_valid_part(rng):
    x = rng.random((2, 7, 9), np.float32)
    padded = valid_size.replicate_edge(jnp.asarray(x), ValidSize(jnp.int32(4), jnp.int32(6)), 2)
    expected = np.pad(x[:, :4, :6], ((0, 0), (2, 5), (2, 5)), mode="edge")
    np.testing.assert_array_equal(padded, expected)


@pytest.mark.parametrize(("height", "width"), [(12, 15), (9, 8), (1, 5)])
@pytest.mark.parametrize("integer", [jnp.int32, int], ids=["traced", "static"])
def test_transforms_of_the_true_size(rng, height, width, integer):
    x = np.zeros((12, 15), np.float32)
    x[:height, :width] = rng.random((height, width))
    valid_size = ValidSize(integer(height), integer(width))
    spectrum = fourier.fft2(jnp.asarray(x), valid_size)
    np.testing.assert_allclose(spectrum[:width, :height], np.fft.fft2(x[:height, :width]).T, atol=2e-5)
    np.testing.assert_allclose(fourier.ifft2(spectrum, valid_size), x, atol=1e-6)

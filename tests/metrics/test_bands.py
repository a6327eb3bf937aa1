"""Bands of rows and barriers are for CPUs: the same numbers without them, and nothing of them in a GPU's program."""

import jax
import numpy as np

from edmf_jax.core.buckets import pad_to_bucket
from edmf_jax.metrics import FURTHER, TABLE_2, bands, table
from tests.helpers.triples import make_triple

# Q_P's loops are its own: it bisects, and takes the orientations one after the other to bound its memory.
WITHOUT_LOOPS = TABLE_2 + tuple(metric for metric in FURTHER if metric.name not in ("Q_P", "FMI"))


def rows_of(text):
    """The control flow in the text of a lowered program."""
    return [line.strip() for line in text.splitlines() if "stablehlo.while" in line or "stablehlo.case" in line]


def lowered(triple, metrics, platform):
    stack, size = pad_to_bucket(np.stack(triple))
    # A function of its own, or jit would return what was traced before the platform was changed.
    function = lambda stack, size: table._evaluate_padded(stack, size, metrics)
    return jax.jit(function).trace(stack, size).lower(lowering_platforms=(platform,))


def test_a_program_for_a_gpu_has_no_loops_and_no_conditionals(monkeypatch):
    triple = make_triple(257, 306)
    assert len(rows_of(lowered(triple, TABLE_2, "cpu").as_text())) > 20
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert rows_of(lowered(triple, WITHOUT_LOOPS, "cuda").as_text()) == []


def test_the_numbers_do_not_depend_on_the_bands(monkeypatch):
    triple = make_triple(257, 306)
    expected = list(table.evaluate(*triple, TABLE_2).values())
    monkeypatch.setattr(bands, "in_bands", lambda: False)
    found = lowered(triple, TABLE_2, "cpu").compile()(*pad_to_bucket(np.stack(triple)))
    np.testing.assert_allclose(found, expected, rtol=2e-5)

"""Parameters as an orbax checkpoint: the one file that knows orbax's API for weights (`checkpoint` is for runs)."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """orbax, imported only where it is needed (it takes seconds), and kept from logging pages about what we report."""
    from orbax.checkpoint import v1 as ocp

    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield ocp
    finally:
        logging.disable(disabled)


def save(path: Path, params: Mapping) -> None:
    """Writes NumPy arrays; raises OSError where there is no space."""
    # A full disk in the middle of orbax's threads ends in pages of tracebacks: find it out beforehand.
    probe = path.with_name("probe")
    probe.write_bytes(bytes(2 * sum(array.nbytes for array in jax.tree.leaves(params)) + 2**16))
    probe.unlink()
    with _orbax() as ocp:
        ocp.save(path, params)


def load(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """What `save` wrote, as NumPy arrays."""
    with _orbax() as ocp:
        return ocp.load(path.absolute())

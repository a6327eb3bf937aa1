"""Parameters as an orbax checkpoint.

The only module that uses orbax for weights folders; `training.checkpoint` uses it for runs.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Yields the orbax API, imported on first use (it takes seconds), with all logging off.

    orbax logs long tracebacks for errors that this package reports in one line.
    """
    from orbax.checkpoint import v1 as ocp

    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield ocp
    finally:
        logging.disable(disabled)


def save(path: Path, params: Mapping) -> None:
    """Writes a tree of NumPy arrays to the new folder `path`.

    Raises:
      OSError: there is no space for it.
    """
    # A disk that fills up inside orbax's threads ends in pages of tracebacks, so test for space first.
    import jax

    probe = path.with_name("probe")
    probe.write_bytes(bytes(2 * sum(array.nbytes for array in jax.tree.leaves(params)) + 2**16))
    probe.unlink()
    with _orbax() as ocp:
        ocp.save(path, params)


def load(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Reads what `save` wrote, as NumPy arrays."""
    with _orbax() as ocp:
        return ocp.load(path.absolute())

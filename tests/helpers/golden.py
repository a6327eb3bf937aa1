"""Values that other programs computed: `tests/golden`, and Lytro's, which may not be passed on, beside the checkout."""

import json

import cv2
import numpy as np

from tests.helpers.files import ROOT, SHARED

GOLDEN = ROOT / "tests" / "golden"


def golden_triples() -> list[tuple[list[np.ndarray], dict]]:
    """A, B and fused, uint8 `[H, W]`, with the metrics' values that MATLAB's code gives in Octave 7.3.0.

    Six triples of EDMF; three of Lytro besides, whose pictures may not be passed on, where they are at hand.
    """
    found = []
    for folder, source in ((GOLDEN / "metrics", "edmf"), (SHARED / "reference" / "metrics", "lytro")):
        if not folder.exists():
            continue
        for triple in json.loads((folder / "golden.json").read_text())["triples"]:
            if triple["a"].startswith(f"{source}/"):
                read = lambda key: cv2.imread(str(folder / triple[key]), cv2.IMREAD_UNCHANGED)  # noqa: B023
                found.append(([read(key) for key in ("a", "b", "fused")], triple))
    return found

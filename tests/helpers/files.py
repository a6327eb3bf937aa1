"""Where the checkout and the files beside it lie, and how flat parameter files become trees."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def shared_file(name: str) -> Path:
    """A file beside the checkout, or a skip that says so."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}, which is not part of the repository")
    return path


def nest(flat: dict, prefix: str = "") -> dict:
    """`{"PREFIXconv1/kernel": x}` → `{"conv1": {"kernel": x}}`."""
    tree = {}
    for name, value in flat.items():
        if name.startswith(prefix):
            layer, kind = name[len(prefix):].split("/")
            tree.setdefault(layer, {})[kind] = value
    return tree

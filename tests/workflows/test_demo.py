"""The demo's folder: one process at a time, and nothing foreign is replaced.  That it runs: tests/cli/test_main.py."""

import os

import pytest

pytest.importorskip("tensorflow_datasets")

from edmf_jax.errors import UserError
from edmf_jax.runtime.lock import exclusive
from edmf_jax.workflows.demo import demo


def test_a_second_process_is_told_who_is_at_work(tmp_path):
    with exclusive(tmp_path), pytest.raises(UserError, match=f"in use by process {os.getpid()} on .* since "):
        demo(tmp_path)
    assert not (tmp_path / "tfds").exists()


def test_a_foreign_picture_is_kept(tmp_path):
    (tmp_path / "edmf_synthetic").mkdir()
    (tmp_path / "edmf_synthetic" / "fused.png").write_text("mine")
    with pytest.raises(UserError, match=r"fused\.png is already there, of no demo in this folder"):
        demo(tmp_path)
    assert (tmp_path / "edmf_synthetic" / "fused.png").read_text() == "mine"

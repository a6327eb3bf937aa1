"""What TFDS keeps about our data sets."""

import tempfile

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_datasets")

import tfds_edmf


@pytest.mark.parametrize("name", sorted(tfds_edmf.BUILDERS.keys() - {"image_pairs"}))  # which can't do without a source
def test_a_builder_of_data_that_is_not_prepared_leaves_nothing_behind(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    builder = tfds_edmf.BUILDERS[name](data_dir=tmp_path / "data")
    assert builder.info.name == name and builder.info.description
    assert list(tmp_path.iterdir()) == []

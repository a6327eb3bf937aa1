"""TFDS builder of `road_mf`."""

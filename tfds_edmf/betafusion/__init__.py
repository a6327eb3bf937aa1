"""TFDS builder of `betafusion`."""

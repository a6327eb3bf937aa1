"""TFDS builder of `mffw`."""

"""TFDS builder of `image_pairs`."""

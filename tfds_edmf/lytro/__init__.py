"""TFDS builder of `lytro`."""

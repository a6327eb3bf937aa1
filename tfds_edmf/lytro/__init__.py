"""The TFDS builder of `lytro`, in `lytro_dataset_builder`."""

"""The TFDS builder of `mffw`, in `mffw_dataset_builder`."""

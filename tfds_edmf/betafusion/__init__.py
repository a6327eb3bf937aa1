"""The TFDS builder of `betafusion`, in `betafusion_dataset_builder`."""

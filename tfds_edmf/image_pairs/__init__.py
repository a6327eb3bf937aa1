"""The TFDS builder of `image_pairs`, in `image_pairs_dataset_builder`."""

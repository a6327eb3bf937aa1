"""The TFDS builder of `road_mf`, in `road_mf_dataset_builder`."""

"""The TFDS builder of `mfi_whu`, in `mfi_whu_dataset_builder`."""

"""TFDS builder of `mfi_whu`."""

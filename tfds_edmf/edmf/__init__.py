"""EDMF as published.

Read in this order:

    locate                where the published files are: named by the user, in TFDS's manual_dir, or downloaded
    check                 every file against the manifest EDMF.sha256, every pair for equal sizes
    edmf_dataset_builder  the TFDS builder with the two splits
"""

"""The description of a data set, as TFDS keeps it with the data."""

import tensorflow_datasets as tfds


class OwnInfo(tfds.core.DatasetInfo):
    """A `DatasetInfo` that does not look for a copy of itself in TFDS's bucket, which has none of our data sets.

    Each look leaves an empty folder among the temporary ones, and TFDS looks whenever a builder is made of data that
    is not prepared yet.
    """

    def initialize_from_bucket(self) -> None:
        """Does nothing."""

"""Exceptions for a user's mistakes.  Their message is one line: the argument, its value, and what to do instead.

The commands print that line and exit with code 2.  Any other exception is a bug of this package.
"""


class UserError(ValueError):
    """A mistake in what the user gave; `str(error)` is one line that says how to correct it."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that the user named does not exist."""

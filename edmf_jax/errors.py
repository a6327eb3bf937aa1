"""What a user can get wrong, as exceptions of one line: argument, value, way out.

The commands print the line and exit with code 2; anything else that is raised is a bug of ours.
"""


class UserError(ValueError):
    """A mistake in what the user gave; `str(error)` is one line that names the way out."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder the user named does not exist."""

"""The one error every reader of this package raises for a malformed file."""

from __future__ import annotations

import os

__all__ = ["FileFormatError"]


class FileFormatError(ValueError):
    """A file exists and can be read, but its content is not what its format requires.

    Parameters
    ----------
    path : path-like
        The file.
    problem : str
        What is wrong: the field, its value and the limit.

    Examples
    --------
    >>> str(FileFormatError("a.bin", "magic is 7, expected 1"))
    'a.bin: magic is 7, expected 1'
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        super().__init__(f"{os.fspath(path)}: {problem}")
        self.path = os.fspath(path)
        self.problem = problem

    def __reduce__(self) -> tuple[type[FileFormatError], tuple[str, str]]:
        """Rebuild from both parts, since the base class would pass the joined text only."""
        return type(self), (self.path, self.problem)

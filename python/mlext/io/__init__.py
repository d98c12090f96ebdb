"""Files: models, the safetensors format and crash-safe writing.

:func:`save` and :func:`load` know models; the functions below them know NumPy arrays and bytes only.
"""

from mlext.io.atomic import atomic_write
from mlext.io.errors import FileFormatError
from mlext.io.files import open_regular
from mlext.io.model import load, read_metadata, save
from mlext.io.safetensors import Entry, read, write

__all__ = [
    "Entry",
    "FileFormatError",
    "atomic_write",
    "load",
    "open_regular",
    "read",
    "read_metadata",
    "save",
    "write",
]

"""Helper of tests/sanitize: makes the fault that the given sanitizer must report."""

import ctypes
import sys
import threading

import numpy as np

import mlext as ml
from mlext import _C


def overrun():
    """Reads the byte behind an array, which is still inside the block of the pool."""
    array = ml.functional.exp(np.ones(100, np.float32))
    ctypes.memmove(ctypes.create_string_buffer(1), array.ctypes.data + array.nbytes, 1)


def race():
    """Two threads write one array."""
    array = np.zeros(1 << 20, np.float32)
    threads = [threading.Thread(target=_C.add_, args=(array, 1.0)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    race() if sys.argv[1] == "thread" else overrun()

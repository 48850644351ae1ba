"""Eigenvectors by NumPy's LAPACK, on one thread where several do not pay."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Up to this size one thread finds eigenvectors in a second. More threads meet at a barrier for every column, and where
#: another process holds a core, each of them waits for a time slice: 0.8 to 6 s instead of 0.1 s at 768.
ONE_THREAD_UP_TO = 1_536
#: What OpenBLAS calls its setter and getter of threads: in NumPy's wheels, with 64-bit integers, and as it comes.
_NAMES = (
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
)
_LOCK = threading.Lock()


def eigh(matrix: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues of a symmetric matrix, ascending, and its eigenvectors as columns."""
    if len(matrix) > ONE_THREAD_UP_TO:
        return np.linalg.eigh(matrix)
    with one_thread():
        return np.linalg.eigh(matrix)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenBLAS use one thread meanwhile, in this whole process; nothing happens under another library."""
    control = _control()
    if control is None:
        yield
        return
    set_threads, get_threads = control
    # Of two fits at once the second would take the first one's single thread for what was there before.
    with _LOCK:
        before = get_threads()
        set_threads(1)
        try:
            yield
        finally:
            set_threads(before)


@cache
def _control() -> tuple[Any, Any] | None:
    """Functions of the OpenBLAS that NumPy is linked with; a lookup in NumPy's own module goes on in what it links."""
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    except (AttributeError, OSError):
        return None
    for names in _NAMES:
        if all(hasattr(library, name) for name in names):
            setter, getter = (getattr(library, name) for name in names)
            setter.argtypes, setter.restype = [ctypes.c_int], None
            getter.argtypes, getter.restype = [], ctypes.c_int
            return setter, getter
    return None

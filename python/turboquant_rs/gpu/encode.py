"""Encoding on a device: docs/numerics.md sections 2 to 8 in one kernel, the row read once."""

from __future__ import annotations

from typing import Any

from .backend import Backend
from .constants import CodecKey
from .faults import Fault


def encode(
    backend: Backend,
    codec: CodecKey,
    x: Any,
    packed: Any,
    scales: Any,
    squares: Any = None,
    *,
    unit_norm: bool = False,
    validate: bool = True,
) -> Fault | None:
    """Encode the rows of a device array into device arrays.

    Parameters
    ----------
    backend : Backend
        Of the device that all arrays live on.
    codec : CodecKey
        Parameters of the codec.
    x : (n, dim) float32, C-contiguous
        Read only.
    packed : (n, row bytes) uint8, C-contiguous, 4-byte aligned
        Written.
    scales : (n, 1) or (n,) float32, C-contiguous
        Written.
    squares : (n,) float32, optional
        Written with |x|² of every row; norms of 2^63 and more are then faults.
    unit_norm : bool
        Leave the norm out of the scales (the cosine metric); norms beyond float32 are then no faults.
    validate : bool
        Wait for the device and return the first faulty row. False: neither; what faulty rows encode to is undefined.

    Returns
    -------
    Fault or None
        The first row that must be refused; what was written is then undefined.

    Raises
    ------
    ValueError, TypeError
        From the launch gate, for arrays that the kernel could not read.
    MemoryError
        If the device has no room for scratch (only dims above 12,288 take any).
    """
    raise NotImplementedError

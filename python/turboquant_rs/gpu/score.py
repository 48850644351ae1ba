"""Scores on a device: queries prepared there, integer products, one rounding (docs/numerics.md section 10)."""

from __future__ import annotations

from typing import Any

from .backend import Backend
from .constants import CodecKey
from .faults import Fault


def score(
    backend: Backend,
    codec: CodecKey,
    keep: int,
    queries: Any,
    packed: Any,
    scales: Any,
    out: Any,
    *,
    cosine: bool = False,
    validate: bool = True,
) -> Fault | None:
    """Score device queries against device codes.

    Parameters
    ----------
    keep : int
        Bits that ``packed`` holds of every code.
    queries : (nq, dim) float32
    packed : (n, row bytes of the top ``keep`` bits) uint8
    scales : (n, 1) or (n,) float32
    out : (nq, n) float32
        Written. All arrays are C-contiguous and on the backend's device.
    cosine : bool
        Divide by the queries' norms (which may then be of any size).
    validate : bool
        Wait for the device and return the first faulty query: NaN, ±inf ("nonfinite") or a norm of 2^96 or more
        ("norm"). False: neither.
    """
    raise NotImplementedError

"""Decoding on a device: levels, inverse rotation, one multiply."""

from __future__ import annotations

from typing import Any

from .backend import Backend
from .constants import CodecKey


def decode(backend: Backend, codec: CodecKey, keep: int, packed: Any, scales: Any, out: Any) -> None:
    """Decode device rows: ``out`` (n, dim) float32 from ``packed`` (n, row bytes of the top ``keep`` bits) and scales.

    Arrays are C-contiguous device arrays; ``scales`` is (n, 1) or (n,) float32. Nothing is synchronised.
    """
    raise NotImplementedError

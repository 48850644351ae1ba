"""Decoding on a device: levels, inverse rotation, one multiply."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference.codebook import levels
from ..reference.units import row_bytes
from .backend import Backend
from .constants import CodecKey, rotation_tables, uploaded, uploaded_rotation
from .gate import require
from .plan import launch_factor, row_plan


def decode(backend: Backend, codec: CodecKey, keep: int, packed: Any, scales: Any, out: Any) -> None:
    """Decode device rows: ``out`` (n, dim) float32 from ``packed`` (n, row bytes of the top ``keep`` bits) and scales.

    Arrays are C-contiguous device arrays; ``scales`` is (n, 1) or (n,) float32. Nothing is synchronised.
    """
    n = len(packed)
    require(packed, "packed", (n, row_bytes(codec.dim, codec.bits, keep)), np.uint8)
    require(scales, "scales", (n,), np.float32)
    require(out, "out", (n, codec.dim), np.float32)
    if n == 0:
        return
    rotation = rotation_tables(codec.dim, codec.seed)
    parameters = {"TQ_BITS": codec.bits, "TQ_KEEP": keep}
    plan = row_plan(backend, "decode", codec.dim, rotation.rounds, 4 << keep, parameters)
    key = (codec.dim, codec.bits, keep)
    level = uploaded(backend, "levels", key, lambda: levels(codec.bits, keep, codec.dim))
    signs, source = uploaded_rotation(backend, codec.dim, codec.seed, by_lanes=plan.kernel.name == "decode_warp")
    plan.launch(
        backend, n, (packed, scales, level, signs, source, launch_factor(codec.dim, rotation), out, np.int64(n))
    )

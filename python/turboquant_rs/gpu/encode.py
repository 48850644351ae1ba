"""Encoding on a device: docs/numerics.md sections 2 to 8 in one kernel, the row read once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference.codes import SCALES
from ..reference.units import row_bytes
from .backend import Backend
from .constants import CodecKey, assignment_tables, rotation_tables, uploaded, uploaded_rotation
from .faults import Fault, fault_buffer, first_fault
from .gate import require
from .plan import launch_factor, row_plan, whole_words


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
    n = len(x)
    width = row_bytes(codec.dim, codec.bits, codec.bits)
    require(x, "x", (n, codec.dim), np.float32)
    require(packed, "packed", (n, width), np.uint8)
    require(scales, "scales", (n,), np.float32)
    if squares is not None:
        require(squares, "squares", (n,), np.float32)
    if n == 0:
        return None
    rotation = rotation_tables(codec.dim, codec.seed)
    trials = codec.refine if codec.refine and codec.bits > 1 else 1
    parameters = {
        "TQ_BITS": codec.bits,
        "TQ_KEEP": codec.bits,
        "TQ_TRIALS": trials,
        "TQ_SCALE": SCALES.index(codec.scale),
        "TQ_WHOLE_WORDS": int(whole_words(codec.dim, packed)),
    }
    plan = row_plan(backend, "encode", codec.dim, rotation.rounds, (trials + 1) * 4 << codec.bits, parameters)
    tables = uploaded(backend, "assignment", (codec,), lambda: assignment_tables(codec))
    signs, source = uploaded_rotation(backend, codec.dim, codec.seed, by_lanes=plan.kernel.name == "encode_warp")
    faults = fault_buffer(backend)
    args = (
        *(x, tables, signs, source, launch_factor(codec.dim, rotation), packed, scales, squares, faults),
        *(np.sqrt(np.float32(codec.dim)), np.int32(unit_norm), np.int64(n)),
    )
    plan.launch(backend, n, args)
    return first_fault(backend, faults) if validate else None

"""Codes of rotated rows that lie in a device's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference.codes import SCALES
from .backend import Backend
from .constants import CodecKey, assignment_tables, uploaded
from .plan import whole_words
from .sketch import launch_by_warps


def write_codes(
    backend: Backend,
    codec: CodecKey,
    rows: tuple[Any, Any, Any],
    packed: Any,
    scales: Any,
    first: int,
    faults: Any,
    *,
    left: Any = None,
    step: np.float32 | None = None,
) -> None:
    """Write codes and scales of rotated rows, which are rows ``first`` … of ``packed`` and ``scales``.

    ``rows`` are values (n, dim), norms and powers of two. With ``step`` values are products of rows in fixed point with
    a matrix, in which 1 stands for it. With ``left`` they are floats and become what the levels leave over, whose norms
    are written to it; scales are then two a row (TurboQuantProd).
    """
    values, norms, exponents = rows
    n, width, trials = len(norms), int(packed.shape[1]), codec.refine if codec.refine and codec.bits > 1 else 1
    tables = uploaded(backend, "assignment", (codec,), lambda: assignment_tables(codec))
    parameters = {
        "TQ_DIM": codec.dim,
        "TQ_BITS": codec.bits,
        "TQ_KEEP": codec.bits,
        "TQ_TRIALS": trials,
        "TQ_SCALE": SCALES.index(codec.scale),
        "TQ_RESIDUAL": int(left is not None),
        "TQ_WHOLE_WORDS": int(whole_words(codec.dim, packed) and width % 4 == 0),
    }
    args = (
        *(values.view(np.float32), norms, exponents, tables, packed, scales, left, faults),
        *(np.sqrt(np.float32(codec.dim)), np.float32(0) if step is None else step),
        *(np.int32(width), np.int64(first), np.int64(n)),
    )
    launch_by_warps(backend, "row_codes", n, args, parameters, (trials + 1) * 4 << codec.bits)

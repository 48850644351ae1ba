"""What kernels there are: their arguments, which the launch gate checks, and the parameters they are compiled with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel: a pointer to ``dtype`` elements, or a scalar of that dtype."""

    name: str
    dtype: np.dtype[np.generic]
    array: bool
    #: Bytes that the first element's address must be a multiple of; the kernel loads that many at once.
    align: int = 1
    #: Whether a null pointer (None) is allowed.
    optional: bool = False


@dataclass(frozen=True)
class Kernel:
    """A kernel of one source file with everything that is known when it is compiled.

    ``parameters`` become ``-DNAME=value``; two kernels with equal fields are the same code.
    """

    name: str
    parameters: tuple[tuple[str, int], ...]

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments, in order."""
        found = ARGUMENTS[self.name]
        if not dict(self.parameters).get("TQ_WHOLE_WORDS"):
            return found
        return tuple(replace(a, align=4) if a.name == "packed" else a for a in found)

    def parameter(self, name: str) -> int:
        """Return one parameter."""
        return dict(self.parameters)[name]


def _array(name: str, dtype: DTypeLike, align: int = 1, *, optional: bool = False) -> Argument:
    found: np.dtype[np.generic] = np.dtype(dtype)
    return Argument(name, found, True, max(align, found.itemsize), optional)


def _scalar(name: str, dtype: DTypeLike) -> Argument:
    return Argument(name, np.dtype(dtype), False)


_ROTATION = (
    _array("signs", np.uint32),
    _array("source", np.uint16, optional=True),
    _scalar("factor", np.float32),
)
_ENCODE = (
    _array("x", np.float32),
    _array("tables", np.float32),
    *_ROTATION,
    _array("packed", np.uint8),
    _array("scales", np.float32),
    _array("squares", np.float32, optional=True),
    _array("faults", np.uint64),
    _scalar("root", np.float32),
    _scalar("unit_norm", np.int32),
    _scalar("rows", np.int64),
)
_DECODE = (
    _array("packed", np.uint8),
    _array("scales", np.float32),
    _array("levels", np.float32),
    *_ROTATION,
    _array("out", np.float32),
    _scalar("rows", np.int64),
)
_QUERY = (
    _array("x", np.float32),
    *_ROTATION,
    _array("high", np.int8, 16),
    _array("low", np.int8, 16, optional=True),
    _array("worth", np.float32),
    _array("rotated", np.float32, optional=True),
    _array("norms", np.float32, optional=True),
    _array("exponents", np.int32, optional=True),
    _array("faults", np.uint64),
    _scalar("level_scale", np.float32),
    _scalar("cosine", np.int32),
    _scalar("rows", np.int64),
)
_RANKING = (
    _array("query_squares", np.float32, optional=True),
    _array("row_squares", np.float32, optional=True),
)
_CANDIDATES = (
    _array("floors", np.uint32),
    _array("candidates", np.uint64),
    _array("counts", np.uint32),
)
_RANK = (
    *_RANKING,
    _array("allowed", np.uint32, optional=True),
    *_CANDIDATES,
    _scalar("pitch", np.int64),
    _scalar("rows", np.int64),
    _scalar("queries", np.int64),
)
#: Of kernels that cut candidates, around the bytes of a row.
_CUT_ROWS = (*_RANKING, _array("ties", np.uint32, optional=True), *_CANDIDATES)
_CUT = (
    _scalar("first", np.int64),
    _scalar("pitch", np.int64),
    _scalar("spread", np.int64),
    _scalar("queries", np.int64),
)
_SCORE = (
    _array("packed", np.uint8),
    _array("scales", np.float32),
    _array("levels", np.int16),
    _array("high", np.int8, 16),
    _array("low", np.int8, 16, optional=True),
    _array("worth", np.float32),
    _array("out", np.float32),
    _scalar("rows", np.int64),
    _scalar("queries", np.int64),
)
_PLANES = (
    _array("high", np.int8, 16),
    _array("low", np.int8, 16),
)
_FITTED_ROWS = (
    _array("x", np.float32),
    _array("center", np.float32, optional=True),
    *_PLANES,
    _array("norms", np.float32),
    _array("exponents", np.int32),
)
_SEGMENTS = (
    _array("shape", np.int32, 16),
    _array("reals", np.float32),
    _array("signs", np.uint32),
    _array("source", np.uint16),
)
_DENSE = (
    _array("high", np.int8, 16, optional=True),
    _array("low", np.int8, 16),
    _array("matrix_high", np.int8, 16),
    _array("matrix_low", np.int8, 16),
    _array("products", np.int32, optional=True),
    _array("out", np.float32, optional=True),
    _array("factors", np.float32, optional=True),
    _array("center", np.float32, optional=True),
    _scalar("rows", np.int64),
)
_ROTATE = (
    _array("x", np.float32),
    *_ROTATION,
    _array("out", np.float32),
    _array("norms", np.float32, optional=True),
    _array("exponents", np.int32, optional=True),
    _array("faults", np.uint64, optional=True),
    _scalar("size", np.int32),
    _scalar("refuse", np.int32),
    _scalar("first", np.int64),
    _scalar("rows", np.int64),
)
_UNROTATE = (
    _array("packed", np.uint8, optional=True),
    _array("scales", np.float32, optional=True),
    *_ROTATION,
    _array("out", np.float32),
    _array("powers", np.int32, optional=True),
    _scalar("constant", np.float32),
    _scalar("size", np.int32),
    _scalar("row_bytes", np.int32),
    _scalar("start", np.int32),
    _scalar("norms", np.int32),
    _scalar("rows", np.int64),
)
#: Projected rows: products or floats, 32 bits each.
_PROJECTED = (
    _array("words", np.int32),
    _array("norms", np.float32),
    _array("exponents", np.int32),
)
_FITTED_SCORE = (
    _array("packed", np.uint8),
    _array("scales", np.float32),
    _array("places", np.int32),
    _array("groups", np.int32),
    _array("levels", np.uint32),
    _array("high", np.int8, 16),
    _array("low", np.int8, 16, optional=True),
    _array("worth", np.float32),
    _array("base", np.float32, optional=True),
    _array("out", np.float32),
    _scalar("row_bytes", np.int32),
    _scalar("rows", np.int64),
    _scalar("queries", np.int64),
)
_FITTED_RANK = (*_FITTED_SCORE[:9], *_RANK[:6], _scalar("row_bytes", np.int32), *_RANK[6:])
_SCRATCH = (_array("scratch", np.float32, 16, optional=True),)

#: Arguments of every kernel, by name; each is the one kernel of ``src/<name>.cu``.
ARGUMENTS: dict[str, tuple[Argument, ...]] = {
    "encode_warp": _ENCODE,
    "encode_block": _ENCODE + _SCRATCH,
    "decode_warp": _DECODE,
    "decode_block": _DECODE + _SCRATCH,
    "query_warp": _QUERY,
    "query_block": _QUERY + _SCRATCH,
    "score_dp4a": _SCORE,
    "score_mma": _SCORE,
    "stage_tables": (
        _array("worths", np.float32, 16, optional=True),
        _array("reaches", np.float32),
        _array("norms", np.float32),
        _array("exponents", np.int32),
        _array("lengths", np.float32, optional=True),
        _array("residuals", np.float32, optional=True),
        _array("tables", np.uint8, 16, optional=True),
        _array("factors", np.float32),
        _array("deviations", np.float32),
        _array("squares", np.float32, optional=True),
        _array("faults", np.uint64),
        _scalar("unit", np.float32),
        _scalar("rounding", np.float32),
        _scalar("reach_factor", np.float32),
        _scalar("cosine", np.int32),
        _scalar("columns", np.int32),
        _scalar("queries", np.int64),
    ),
    "rank_dp4a": (*_SCORE[:6], *_RANK),
    "rank_mma": (*_SCORE[:6], *_RANK),
    "rank_stage": (
        _array("packed", np.uint8),
        _array("scales", np.float32),
        _array("bounds", np.uint32),
        _array("tables", np.uint8, 16),
        _array("factors", np.float32),
        _array("deviations", np.float32),
        _array("base", np.float32, optional=True),
        *_RANK[:6],
        _scalar("row_bytes", np.int32),
        *_RANK[6:],
    ),
    "refine_dp4a": (*_SCORE[:6], *_CUT_ROWS, *_CUT),
    "refine_fitted": (*_FITTED_SCORE[:9], *_CUT_ROWS, _scalar("row_bytes", np.int32), *_CUT),
    "rank_cut": (
        _array("packed", np.uint8),
        _array("scales", np.float32),
        _array("bounds", np.uint32, optional=True),
        _array("tables", np.uint8, optional=True),
        _array("factors", np.float32, optional=True),
        _array("deviations", np.float32, optional=True),
        _array("base", np.float32, optional=True),
        *_CUT_ROWS,
        _scalar("row_bytes", np.int32),
        *_CUT,
    ),
    "rank_best": (
        _array("candidates", np.uint64),
        _array("counts", np.uint32),
        _array("floors", np.uint32),
        _scalar("k", np.int32),
        _scalar("pitch", np.int64),
        _scalar("queries", np.int64),
    ),
    "dense_dp4a": _DENSE,
    "dense_mma": _DENSE,
    "rotate_warp": _ROTATE,
    "rotate_block": _ROTATE + _SCRATCH,
    "unrotate_warp": _UNROTATE,
    "unrotate_block": _UNROTATE + _SCRATCH,
    "row_codes": (
        _array("rows", np.float32),
        _array("norms", np.float32),
        _array("exponents", np.int32),
        _array("tables", np.float32),
        _array("packed", np.uint8),
        _array("scales", np.float32),
        _array("left", np.float32, optional=True),
        _array("faults", np.uint64),
        _scalar("root", np.float32),
        _scalar("step", np.float32),
        _scalar("row_bytes", np.int32),
        _scalar("first", np.int64),
        _scalar("count", np.int64),
    ),
    "level_rows": (
        _array("packed", np.uint8),
        _array("levels", np.float32),
        *_PLANES,
        _array("norms", np.float32),
        _scalar("row_bytes", np.int32),
        _scalar("plane", np.int32),
        _scalar("rows", np.int64),
    ),
    "prod_values": (
        _array("packed", np.uint8),
        _array("scales", np.float32),
        _array("levels", np.float32),
        _array("out", np.float32),
        _scalar("row_bytes", np.int32),
        _scalar("rows", np.int64),
    ),
    "polar_codes": (
        _array("rows", np.float32),
        _array("exponents", np.int32),
        _array("shape", np.int32),
        _array("tables", np.float32),
        _array("codes", np.uint8),
        _array("packed", np.uint8),
        _array("faults", np.uint64),
        _scalar("dim", np.int32),
        _scalar("levels", np.int32),
        _scalar("table_floats", np.int32),
        _scalar("half", np.int32),
        _scalar("row_bytes", np.int32),
        _scalar("first", np.int64),
        _scalar("count", np.int64),
    ),
    "polar_values": (
        _array("packed", np.uint8),
        _array("shape", np.int32),
        _array("tables", np.float32),
        _array("rows", np.float32),
        _array("powers", np.int32),
        _scalar("dim", np.int32),
        _scalar("levels", np.int32),
        _scalar("half", np.int32),
        _scalar("row_bytes", np.int32),
        _scalar("count", np.int64),
    ),
    "polar_scores": (
        _array("values", np.float32),
        _array("powers", np.int32),
        _array("queries", np.float32),
        _array("exponents", np.int32),
        _array("out", np.float32),
        _scalar("dim", np.int32),
        _scalar("first", np.int64),
        _scalar("rows", np.int64),
        _scalar("count", np.int64),
        _scalar("query_count", np.int64),
    ),
    "sketch_fixed": (
        _array("x", np.float32),
        _array("norms", np.float32),
        *_PLANES,
        _scalar("dim", np.int32),
        _scalar("plane", np.int32),
        _scalar("rows", np.int64),
    ),
    "sketch_signs": (
        *_PROJECTED,
        _array("packed", np.uint8),
        _array("scales", np.float32, optional=True),
        _scalar("size", np.int32),
        _scalar("row_bytes", np.int32),
        _scalar("start", np.int32),
        _scalar("rows", np.int64),
    ),
    "sketch_integers": (
        *_PROJECTED,
        _array("high", np.int8, 16),
        _array("low", np.int8, 16, optional=True),
        _array("worth", np.float32),
        _array("rotated", np.float32, optional=True),
        _array("faults", np.uint64),
        _scalar("constant", np.float32),
        _scalar("step", np.float32),
        _scalar("wide", np.int32),
        _scalar("cosine", np.int32),
        _scalar("columns", np.int32),
        _scalar("size", np.int32),
        _scalar("query_bytes", np.int32),
        _scalar("rows", np.int64),
    ),
    "sketch_units": (
        _array("packed", np.uint8),
        _array("plane", np.int8, 16),
        _scalar("size", np.int32),
        _scalar("row_bytes", np.int32),
        _scalar("start", np.int32),
        _scalar("stride", np.int32),
        _scalar("rows", np.int64),
    ),
    "sketch_values": (
        _array("scales", np.float32),
        _array("own_norms", np.float32, optional=True),
        _array("out", np.float32),
        _scalar("constant", np.float32),
        _scalar("step", np.float32),
        _scalar("dim", np.int32),
        _scalar("norms", np.int32),
        _scalar("rows", np.int64),
    ),
    "fitted_rows": (
        *_FITTED_ROWS,
        _array("squares", np.float32, optional=True),
        _array("faults", np.uint64),
        _scalar("first", np.int64),
        _scalar("rows", np.int64),
    ),
    "fitted_codes": (
        _array("products", np.int32),
        _array("norms", np.float32),
        _array("exponents", np.int32),
        _array("whiten", np.float32),
        *_SEGMENTS,
        _array("units", np.int32),
        _array("tables", np.float32),
        _array("packed", np.uint8),
        _array("scales", np.float32),
        _array("faults", np.uint64),
        _scalar("without_norm", np.int32),
        _scalar("row_bytes", np.int32),
        _scalar("first", np.int64),
        _scalar("rows", np.int64),
        *_SCRATCH,
    ),
    "fitted_values": (
        _array("packed", np.uint8),
        _array("scales", np.float32),
        _array("gains", np.float32),
        *_SEGMENTS,
        _array("units", np.int32),
        _array("tables", np.float32),
        *_PLANES,
        _array("factors", np.float32),
        _scalar("row_bytes", np.int32),
        _scalar("rows", np.int64),
        *_SCRATCH,
    ),
    "fitted_queries": (
        *_FITTED_ROWS,
        _array("base", np.float32, optional=True),
        _array("faults", np.uint64),
        _scalar("cosine", np.int32),
        _scalar("rows", np.int64),
    ),
    "fitted_integers": (
        _array("products", np.int32),
        _array("norms", np.float32),
        _array("exponents", np.int32),
        _array("gains", np.float32),
        *_SEGMENTS,
        _array("columns", np.int32),
        _array("groups", np.int32),
        _array("level_scales", np.float32),
        _array("high", np.int8, 16),
        _array("low", np.int8, 16, optional=True),
        _array("worth", np.float32),
        _array("units", np.int32, optional=True),
        _array("values", np.float32, optional=True),
        _array("rotated", np.float32, optional=True),
        _array("largests", np.float32, optional=True),
        _array("lengths", np.float32, optional=True),
        _array("faults", np.uint64),
        _scalar("cosine", np.int32),
        _scalar("rows", np.int64),
        *_SCRATCH,
    ),
    "fitted_cut": (
        _array("packed", np.uint8),
        _array("scales", np.float32),
        _array("shape", np.int32, 16),
        _array("reals", np.float32),
        _array("units", np.int32),
        _array("tables", np.float32),
        _array("places", np.int32),
        _array("dropped", np.int32),
        _array("out", np.float32),
        _scalar("row_bytes", np.int32),
        _scalar("drops", np.int32),
        _scalar("rows", np.int64),
    ),
    "fitted_lanes": _FITTED_SCORE,
    "fitted_mma": _FITTED_SCORE,
    "rank_fitted_lanes": _FITTED_RANK,
    "rank_fitted_mma": _FITTED_RANK,
}

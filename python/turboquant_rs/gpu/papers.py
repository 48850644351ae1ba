"""QJL's methods for arrays on a GPU."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..codes import Codes
from ..paper_codes import PaperCodes
from ..papers import QJL
from . import qjl, sketch
from .calls import Calls
from .faults import Fault
from .runtime import CupyBackend
from .score import MOST_QUERIES

if TYPE_CHECKING:
    from ..papers import PaperCodec


def encode(codec: PaperCodec, x: Any, *, validate: bool) -> PaperCodes:
    """Encode rows of a CUDA array into codes on its GPU; see :meth:`turboquant_rs.QJL.encode`."""
    return PaperCodes._of(*_calls(codec).encode(x, validate=validate), codec)


def decode(codec: PaperCodec, codes: Codes) -> Any:
    """Decode codes on a GPU, (n, dim) float32 there; see :meth:`turboquant_rs.QJL.decode`."""
    return _calls(codec).decode(codes)


def score(codec: PaperCodec, queries: Any, codes: Codes, *, validate: bool) -> Any:
    """Score queries against codes, both on one GPU; see :meth:`turboquant_rs.QJL.score`."""
    return _calls(codec).score(queries, codes, validate=validate)


class _PaperCalls(Calls):
    """What the papers' codecs have in common."""

    codec: PaperCodec

    def __init__(self, codec: PaperCodec) -> None:
        super().__init__(codec, codec._core.row_bytes, codec._core.norms)

    def _encode_on_host(self, x: Any, first_row: int) -> None:
        self.codec._encode(x, "ip", 1, first_row=first_row)

    def _score_on_host(self, query: Any, packed: Any, scales: Any, out: Any, first_row: int) -> None:
        self.codec._core.score(query, packed, scales, out, first_row, 1)


class _Qjl(_PaperCalls):
    codec: QJL

    def __init__(self, codec: QJL) -> None:
        super().__init__(codec)
        self.key = _sketch_key(codec, codec.projection, codec.sketch_dim)

    def _encode(self, backend: CupyBackend, x: Any, packed: Any, scales: Any, *, validate: bool) -> Fault | None:
        return qjl.encode(backend, self.key, x, packed, scales, validate=validate)

    def _decode(self, backend: CupyBackend, codes: Codes, packed: Any, scales: Any, out: Any) -> None:
        qjl.decode(backend, self.key, packed, scales, out)

    def _score(
        self, backend: CupyBackend, codes: Codes, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool
    ) -> Fault | None:
        return qjl.score(backend, self.key, queries, packed, scales, out, validate=validate)

    def _encode_bytes(self, rows: int) -> int:
        return sketch.rows_at_a_time(self.key, rows) * self.key.bytes_a_row

    def _decode_bytes(self, rows: int) -> int:
        return sketch.decoding_bytes(self.key, rows)

    def _score_bytes(self, queries: int, codes: Codes) -> int:
        return sketch.preparing_bytes(self.key, min(queries, sketch.rows_at_a_time(self.key, MOST_QUERIES)))


def _calls(codec: PaperCodec) -> Calls:
    if isinstance(codec, QJL):
        return _Qjl(codec)
    raise NotImplementedError(type(codec).__name__)


@lru_cache(maxsize=8)
def _sketch_key(codec: PaperCodec, projection: str, size: int) -> sketch.SketchKey:
    """Return a codec's sketch for the drivers; the matrix itself is fetched from the core when it is uploaded."""
    found = codec._core.matrix()
    matrix = None
    if found is not None:

        def values() -> NDArray[np.int16]:
            again = codec._core.matrix()
            assert again is not None
            return again[0]

        matrix = sketch.Matrix(np.float32(found[1]), values)
    return sketch.SketchKey(projection, codec.dim, size, codec.seed, matrix)

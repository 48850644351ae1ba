"""TurboQuant's methods for arrays on a GPU: plain codecs, those with a dense rotation, and fitted ones."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .._device import namespace_of
from .._truncate import check_finite
from ..codes import Codes
from ..reference.codebook import one_byte
from ..reference.fitted_codec import FittedTurboQuant
from . import arrays, cut_fitted, decode_fitted, dense_codec, encode_fitted, score_fitted
from .calls import Calls, contiguous
from .constants import CodecKey
from .decode import decode as launch_decode
from .encode import encode as launch_encode
from .faults import Fault
from .fitted import FittedKey
from .plan import query_bytes
from .runtime import CupyBackend
from .score import QUERY_BUFFER
from .score import score as launch_score
from .sketch import matrix_from
from .split import SplitKey

if TYPE_CHECKING:
    from ..codec import TurboQuant


def encode(codec: TurboQuant, x: Any, *, validate: bool) -> Codes:
    """Encode rows of a CUDA array into codes on its GPU; see :meth:`turboquant_rs.TurboQuant.encode`."""
    return Codes._made(*_calls(codec).encode(x, validate=validate), codec, codec.bits)


def decode(codec: TurboQuant, codes: Codes) -> Any:
    """Decode codes on a GPU, (n, dim) float32 there; see :meth:`turboquant_rs.TurboQuant.decode`."""
    return _calls(codec).decode(codes)


def score(codec: TurboQuant, queries: Any, codes: Codes, *, validate: bool) -> Any:
    """Score queries against codes, both on one GPU; see :meth:`turboquant_rs.TurboQuant.score`."""
    return _calls(codec).score(queries, codes, validate=validate)


def cut(codes: Codes, held: list[int], keep: list[int]) -> tuple[Any, Any]:
    """Return (packed, scales) of fitted codes on a GPU that keep ``keep`` of the ``held`` bits of every segment."""
    key = fitted_key(codes.codec, int(codes.codec.refine))
    n, row_bytes = len(codes), key.row_bytes(tuple(keep))
    with arrays.working_beside(codes.packed, "codes") as device:
        advice = "truncate fewer rows a call (codes[first:last]), or free memory there"
        with arrays.memory_for(f"truncating {n:,} rows", n * (row_bytes + 4), device, advice):
            packed, scales = contiguous(codes)
            short = packed[:, :row_bytes].copy()
            backend = CupyBackend()
            out = backend.empty((n, 1), np.float32)
            cut_fitted.cut(backend, key, tuple(held), tuple(keep), packed, scales, out)
        check_finite(namespace_of(out), out)
    return short, out


class _TurboQuantCalls(Calls):
    """What plain and fitted codecs have in common."""

    codec: TurboQuant

    def __init__(self, codec: TurboQuant) -> None:
        super().__init__(codec, codec._core.row_bytes(codec._core.full), codec._core.norms)

    def _encode_on_host(self, x: Any, first_row: int) -> None:
        self.codec._encode(x, 1, first_row=first_row)

    def _score_on_host(self, query: Any, packed: Any, scales: Any, out: Any, first_row: int) -> None:
        core = self.codec._core
        core.score(query, packed, scales, core.full, out, first_row, 1)


class _Plain(_TurboQuantCalls):
    def __init__(self, codec: TurboQuant) -> None:
        super().__init__(codec)
        self.key = plain_key(codec)

    def _encode(self, backend: CupyBackend, x: Any, packed: Any, scales: Any, *, validate: bool) -> Fault | None:
        return launch_encode(backend, self.key, x, packed, scales, validate=validate)

    def _decode(self, backend: CupyBackend, codes: Codes, packed: Any, scales: Any, out: Any) -> None:
        launch_decode(backend, self.key, self.codec._keep(codes.bits)[0], packed, scales, out)

    def _score(
        self, backend: CupyBackend, codes: Codes, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool
    ) -> Fault | None:
        keep = self.codec._keep(codes.bits)[0]
        return launch_score(backend, self.key, keep, queries, packed, scales, out, validate=validate)

    def _score_bytes(self, queries: int, codes: Codes) -> int:
        wide = not one_byte(self.codec._keep(codes.bits)[0])
        return min(queries * query_bytes(self.codec.dim), QUERY_BUFFER) * (2 if wide else 1)


class _Fitted(_TurboQuantCalls):
    def __init__(self, codec: TurboQuant) -> None:
        super().__init__(codec)
        self.key = fitted_key(codec, int(codec.refine))

    def _encode(self, backend: CupyBackend, x: Any, packed: Any, scales: Any, *, validate: bool) -> Fault | None:
        return encode_fitted.encode(backend, self.key, x, packed, scales, validate=validate)

    def _decode(self, backend: CupyBackend, codes: Codes, packed: Any, scales: Any, out: Any) -> None:
        decode_fitted.decode(backend, self.key, self._keep(codes), packed, scales, out)

    def _score(
        self, backend: CupyBackend, codes: Codes, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool
    ) -> Fault | None:
        operands = (queries, packed, scales, out)
        return score_fitted.score(backend, self.key, self._keep(codes), *operands, validate=validate)

    def _encode_bytes(self, rows: int) -> int:
        return encode_fitted.buffer_bytes(self.key, rows)

    def _decode_bytes(self, rows: int) -> int:
        return decode_fitted.buffer_bytes(self.key, rows)

    def _score_bytes(self, queries: int, codes: Codes) -> int:
        return score_fitted.buffer_bytes(self.key, self._keep(codes), queries)

    def _keep(self, codes: Codes) -> tuple[int, ...]:
        return tuple(self.codec._keep(codes.bits))


class _Dense(_TurboQuantCalls):
    def __init__(self, codec: TurboQuant) -> None:
        super().__init__(codec)
        self.key = dense_key(codec, int(codec.refine))

    def _encode(self, backend: CupyBackend, x: Any, packed: Any, scales: Any, *, validate: bool) -> Fault | None:
        return dense_codec.encode(backend, self.key, x, packed, scales, validate=validate)

    def _decode(self, backend: CupyBackend, codes: Codes, packed: Any, scales: Any, out: Any) -> None:
        dense_codec.decode(backend, self.key, self._keep(codes), packed, scales, out)

    def _score(
        self, backend: CupyBackend, codes: Codes, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool
    ) -> Fault | None:
        operands = (queries, packed, scales, out)
        return dense_codec.score(backend, self.key, self._keep(codes), *operands, validate=validate)

    def _encode_bytes(self, rows: int) -> int:
        return dense_codec.encoding_bytes(self.key, rows)

    def _decode_bytes(self, rows: int) -> int:
        return dense_codec.decoding_bytes(self.key, rows)

    def _score_bytes(self, queries: int, codes: Codes) -> int:
        return dense_codec.scoring_bytes(self.key, self._keep(codes), queries)

    def _keep(self, codes: Codes) -> int:
        return self.codec._keep(codes.bits)[0]


def plain_key(codec: TurboQuant) -> CodecKey:
    """Return a plain codec for the drivers."""
    return CodecKey(codec.dim, codec._core.full[0], codec.seed, codec.scale, int(codec.refine))


def split_key(codec: TurboQuant) -> SplitKey:
    """Return a codec with outliers for the drivers."""
    outliers = codec.outliers
    assert outliers is not None
    first, second = codec._core.full
    return SplitKey((len(outliers), codec.dim - len(outliers)), (first, second), codec._core.query_integers)


def _calls(codec: TurboQuant) -> Calls:
    if codec.fitted:
        return _Fitted(codec)
    return _Dense(codec) if codec.rotation == "dense" else _Plain(codec)


@lru_cache(maxsize=8)
def dense_key(codec: TurboQuant, refine: int) -> dense_codec.DenseKey:
    """Return a codec with a dense rotation for the drivers, as :func:`fitted_key`."""
    matrix = matrix_from(codec._core.rotation_matrix)
    assert matrix is not None
    return dense_codec.dense_key(plain_key(codec), matrix)


@lru_cache(maxsize=8)
def fitted_key(codec: TurboQuant, refine: int) -> FittedKey:
    """Return a fitted codec for the drivers; codecs that differ in ``refine`` alone are equal, but not their tables."""
    parts = codec._core.parts()
    assert parts is not None
    center, transform, sigmas, segments, order, dual = parts
    second, row_gains, query_gains = (None, None, None) if dual is None else dual
    reference = FittedTurboQuant(
        center,
        transform,
        sigmas,
        segments,
        list(order),
        seed=codec.seed,
        scale=codec.scale,
        refine=refine,
        dual=second,
        row_gains=row_gains,
        query_gains=query_gains,
    )
    return FittedKey(reference)

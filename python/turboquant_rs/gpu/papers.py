"""The papers' codecs' methods for arrays on a GPU."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .._device import cupy_for, device_of, scope
from ..codes import Codes
from ..paper_codes import PaperCodes
from ..papers import QJL, PolarQuant, TurboQuantProd
from . import polar, prod, qjl
from .backend import Backend
from .calls import Calls
from .faults import Fault
from .runtime import CupyBackend
from .sketch import SketchKey, matrix_from

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


def radii(codec: PolarQuant, codes: Codes) -> Any:
    """Return the radii of codes on a GPU, (n, dim/2^levels) float32 there."""
    with scope(codes.device):
        return _stored_radii(codec, codes.packed).astype(np.float32)


def are_whole(codec: PaperCodec, packed: Any, scales: Any) -> bool:
    """Return whether arrays on a GPU are what an encoder writes; waits for the GPU.

    Scales are finite; radii are finite and without a sign, so that their bits are below those of infinity.
    """
    with scope(device_of(packed)):
        if scales.size and not bool(cupy_for("scales").isfinite(scales).all()):
            return False
        if not isinstance(codec, PolarQuant) or not packed.size:
            return True
        found = _stored_radii(codec, packed)
        bits, infinity = (np.uint16, 0x7C00) if codec.radius == "float16" else (np.uint32, 0x7F800000)
        return bool((found.view(bits) < infinity).all())


def _stored_radii(codec: PolarQuant, packed: Any) -> Any:
    """Return the radii of packed rows as they are stored."""
    dtype = np.dtype("<f2" if codec.radius == "float16" else "<f4")
    size = dtype.itemsize * (codec.dim >> codec.levels)
    return cupy_for("codes").ascontiguousarray(packed[:, :size]).view(dtype)


class _Driver(Protocol):
    """A codec's module of drivers; its keys say what decides kernels and tables."""

    def encode(
        self, backend: Backend, key: Any, x: Any, packed: Any, scales: Any, *, validate: bool = True
    ) -> Fault | None: ...

    def decode(self, backend: Backend, key: Any, packed: Any, scales: Any, out: Any) -> None: ...

    def score(
        self, backend: Backend, key: Any, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool = True
    ) -> Fault | None: ...

    def encoding_bytes(self, key: Any, rows: int) -> int: ...

    def decoding_bytes(self, key: Any, rows: int) -> int: ...

    def scoring_bytes(self, key: Any, queries: int, rows: int) -> int: ...


class _PaperCalls(Calls):
    codec: PaperCodec

    def __init__(self, codec: PaperCodec, driver: _Driver, key: Any) -> None:
        super().__init__(codec, codec._core.row_bytes, codec._core.norms)
        self.driver, self.key = driver, key

    def _encode(self, backend: CupyBackend, x: Any, packed: Any, scales: Any, *, validate: bool) -> Fault | None:
        return self.driver.encode(backend, self.key, x, packed, scales, validate=validate)

    def _decode(self, backend: CupyBackend, codes: Codes, packed: Any, scales: Any, out: Any) -> None:
        self.driver.decode(backend, self.key, packed, scales, out)

    def _score(
        self, backend: CupyBackend, codes: Codes, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool
    ) -> Fault | None:
        return self.driver.score(backend, self.key, queries, packed, scales, out, validate=validate)

    def _encode_bytes(self, rows: int) -> int:
        return self.driver.encoding_bytes(self.key, rows)

    def _decode_bytes(self, rows: int) -> int:
        return self.driver.decoding_bytes(self.key, rows)

    def _score_bytes(self, queries: int, codes: Codes) -> int:
        return self.driver.scoring_bytes(self.key, queries, len(codes))

    def _encode_on_host(self, x: Any, first_row: int) -> None:
        self.codec._encode(x, "ip", 1, first_row=first_row)

    def _score_on_host(self, query: Any, packed: Any, scales: Any, out: Any, first_row: int) -> None:
        self.codec._core.score(query, packed, scales, out, first_row, 1)


def _calls(codec: PaperCodec) -> Calls:
    if isinstance(codec, QJL):
        return _PaperCalls(codec, qjl, _sketch_key(codec, codec.projection, codec.sketch_dim))
    if isinstance(codec, TurboQuantProd):
        key = _sketch_key(codec, codec.projection, codec.dim)
        if codec.bits == 1:
            return _PaperCalls(codec, qjl, key)
        return _PaperCalls(codec, prod, prod.ProdKey(codec.bits, key))
    assert isinstance(codec, PolarQuant)
    return _PaperCalls(codec, polar, polar.PolarKey(codec.dim, codec.bits, codec.radius, codec.seed))


@lru_cache(maxsize=8)
def _sketch_key(codec: PaperCodec, projection: str, size: int) -> SketchKey:
    """Return a codec's sketch for the drivers; the matrix itself is fetched from the core when it is uploaded."""
    return SketchKey(projection, codec.dim, size, codec.seed, matrix_from(codec._core.matrix))

"""What a codec's kernels read besides rows: tables made by the reference's modules, uploaded once per device."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.codebook import boundaries, integer_levels, levels
from ..reference.codes import Segment
from ..reference.mse import trials
from ..reference.rotation import Block, Rotation, Shuffle
from .backend import Backend

#: Codecs whose uploaded tables are kept; the largest of a plain codec take about 1 MiB.
KEPT = 64
#: Bytes of tables that are kept, matrices of fitted codecs among them; the latest, which a call may need, in any case.
KEPT_BYTES, LATEST = 1 << 30, 32


@dataclass(frozen=True)
class CodecKey:
    """What decides a codec's kernels and tables: the parameters of :class:`turboquant_rs.TurboQuant`.

    ``refine`` is 0, 8, 16 or 32.
    """

    dim: int
    bits: int
    seed: int = 0
    scale: str = "unbiased"
    refine: int = 0


@dataclass(frozen=True)
class RotationTables:
    """A rotation for kernels: one bit a sign, one short a coordinate of a permutation."""

    signs: NDArray[np.uint32]
    """(transforms, words): bit i % 32 of word i // 32 is set where coordinate i is multiplied by −factor."""
    source: NDArray[np.uint16] | None
    """(2, dim): the permutations, y[i] = x[source[i]]; None where dim is a power of two."""
    factor: np.float32
    rounds: int


@lru_cache(maxsize=16)
def rotation_tables(dim: int, seed: int, segment: int = 0) -> RotationTables:
    """Return the tables of the rotation of (dim, seed, segment), from the reference's."""
    rotation = Rotation(dim, seed, segment)
    blocks = [step.factors for step in rotation.steps if isinstance(step, Block)]
    shuffles = [step.source for step in rotation.steps if isinstance(step, Shuffle)]
    power = len(blocks[0])
    words = max(1, power // 32)
    bits = np.zeros((len(blocks), words * 32), np.uint8)
    bits[:, :power] = np.signbit(np.stack(blocks))
    signs = np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)
    source = np.stack(shuffles).astype(np.uint16) if shuffles else None
    rounds = len(blocks) if power == dim else len(blocks) // 2
    return RotationTables(signs, source, np.abs(blocks[0][0]), rounds)


def by_lane(signs: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Transpose sign words (transforms, words) for kernels of one warp a row: (transforms, ⌈words/32⌉, 32).

    Bit j of word [k, lane] is the sign of coordinate 32·(32·k + j) + lane, so that a lane reads its signs in one load.

    >>> by_lane(np.array([[1, 2]], np.uint32))[0, 0, :3].tolist()
    [1, 2, 0]
    """
    transforms, words = signs.shape
    groups = -(-words // 32)
    padded = np.zeros((transforms, groups * 32), "<u4")
    padded[:, :words] = signs
    bits = np.unpackbits(padded.view(np.uint8), axis=1, bitorder="little").reshape(transforms, groups, 32, 32)
    turned = np.ascontiguousarray(bits.transpose(0, 1, 3, 2)).reshape(transforms, -1)
    packed = np.packbits(turned, axis=1, bitorder="little").view("<u4").astype(np.uint32)
    return packed.reshape(transforms, groups, 32)


def assignment_tables(codec: CodecKey) -> NDArray[np.float32]:
    """Return (trials + 1, 2^bits): a row of boundaries a trial (the last entry unused), then the levels."""
    level = levels(codec.bits, codec.bits, codec.dim)
    scales = trials(Segment(0, codec.dim, codec.bits), codec.refine)
    table = np.full((len(scales) + 1, len(level)), np.inf, np.float32)
    for row, t in zip(table, scales, strict=False):
        row[:-1] = boundaries(level) / t
    table[-1] = level
    return table


def score_levels(codec: CodecKey, keep: int) -> tuple[NDArray[np.int16], np.float32]:
    """Return the integer level of every ``keep``-bit code, (2^keep,) int16, and the value of one unit."""
    ints, scale = integer_levels(codec.bits, keep, codec.dim)
    return ints.astype(np.int16), scale


_uploaded: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_lock = Lock()


def uploaded(backend: Backend, what: str, key: tuple[Any, ...], make: Callable[[], NDArray[Any]]) -> Any:
    """Return the device copy of ``make()``, made once per device and key; the least recently used are let go."""
    place = (backend.key, what, *key)
    with _lock:
        if place in _uploaded:
            _uploaded.move_to_end(place)
            return _uploaded[place]
    array = backend.asarray(make())
    with _lock:
        _uploaded[place] = array
        size = sum(int(table.nbytes) for table in _uploaded.values())
        while len(_uploaded) > 4 * KEPT or (size > KEPT_BYTES and len(_uploaded) > LATEST):
            size -= int(_uploaded.popitem(last=False)[1].nbytes)
    return array


def places(source: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return permutations (2, dim) as places of a warp's buffer: `tq_place` of warp.cuh of each coordinate.

    >>> places(np.array([[0, 1, 2, 3, 4, 5]], np.uint16)).tolist()      # 4 is the power of two, 2 the second offset
    [[4, 5, 0, 1, 2, 3]]
    """
    dim = source.shape[1]
    power = 1 << (dim.bit_length() - 1)
    moved: NDArray[np.int64] = (source.astype(np.int64) + power) % dim
    return moved.astype(np.uint16)


def uploaded_rotation(backend: Backend, dim: int, seed: int, *, by_lanes: bool, count: int = 1) -> tuple[Any, Any]:
    """Return the device copies of signs and permutations, in the form for warps or for blocks.

    Of ``count`` rotations, segments 0, 1, …, one after another.
    """
    key = (dim, seed, count)

    def tables() -> Iterator[RotationTables]:
        return (rotation_tables(dim, seed, segment) for segment in range(count))

    def signs() -> NDArray[np.uint32]:
        return np.stack([by_lane(table.signs) if by_lanes else table.signs for table in tables()])

    def permutations() -> NDArray[np.uint16]:
        found = [table.source for table in tables() if table.source is not None]
        return np.stack([places(source) if by_lanes else source for source in found])

    form = "warp" if by_lanes else "block"
    found = uploaded(backend, f"{form} signs", key, signs)
    if rotation_tables(dim, seed).source is None:
        return found, None
    return found, uploaded(backend, f"{form} permutations", key, permutations)

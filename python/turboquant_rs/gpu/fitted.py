"""What the kernels of a fitted codec read: its segments, tables and matrices, made from the reference's codec."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..reference.codebook import boundaries, integer_levels, levels, one_byte
from ..reference.codes import SCALES
from ..reference.fitted_codec import GAUSSIAN_DIM, FittedTurboQuant
from ..reference.linear_stage import linear_stage
from ..reference.rotation import Block, Rotation, Shuffle
from .backend import Backend
from .constants import uploaded
from .dense import planes

#: Up to so many axes a segment lies in the registers of a warp (segments.cuh).
LANES = 32
#: Words that describe a segment (`tq_segment` of segments.cuh), and places of units, one a bit.
WORDS, MOST_BITS = 8, 8

Bytes = NDArray[np.int8]


@dataclass(frozen=True)
class SegmentTables:
    """The segments of a codec for kernels."""

    #: (segments, 8) int32: first axis, axes, their power of two, rounds, bits, first word of signs, first short of
    #: permutations, first float of tables.
    shape: NDArray[np.int32]
    #: (segments, 8) int32: the byte of a packed row at which the unit of each kept bit starts.
    units: NDArray[np.int32]
    tables: NDArray[np.float32]


@dataclass(frozen=True)
class ScoreTables:
    """Groups of segments that are scored together, for kernels.

    A segment takes whole granules of eight columns, a group whole steps of 32.
    """

    #: (segments, 2) int32: the first column of a segment and the end of what it fills with zeros behind its axes.
    columns: NDArray[np.int32]
    #: (groups, 8) int32: first segment, end of segments, kept bits, end in granules, first word of levels, whether they
    #: have two bytes.
    groups: NDArray[np.int32]
    level_scales: NDArray[np.float32]
    #: uint32: sixteen bytes a group, or 32, or two bytes a code, high above low.
    levels: NDArray[np.uint32]
    #: (8, granules) int32: the byte of a packed row that holds a bit of a granule, most significant first.
    places: NDArray[np.int32]

    @property
    def query_bytes(self) -> int:
        """Columns: bytes of a query's integers, or of either half of them."""
        return 8 * int(self.places.shape[1])

    @property
    def wide(self) -> bool:
        """Whether integers of any group take two bytes."""
        return bool(self.groups[:, 5].any())


class Grouped(Protocol):
    """A codec whose segments are scored by groups, from units of one bit."""

    #: Equal for codecs of equal tables.
    key: tuple[Any, ...]

    def scoring(self, keep: tuple[int, ...]) -> ScoreTables:
        """Return tables for scores of codes with ``keep`` bits of every segment."""


def score_tables(
    sizes: Sequence[int],
    groups: Iterable[tuple[list[int], int, int, int]],
    units: NDArray[np.int32],
    *,
    fitted: bool,
) -> ScoreTables:
    """Return the tables of segments of so many axes.

    ``groups`` are runs of them as (segments, bits, kept bits, dim of the codebook). ``units`` (segments, 8) are
    the bytes of a packed row at which the units of kept bits start.
    """
    columns, found, scales, words = np.zeros((len(sizes), 2), np.int32), [], [], [np.zeros(0, np.uint32)]
    places: list[NDArray[np.int32]] = []
    for segments, bits, kept, dim in groups:
        for s in segments:
            granules = np.arange(-(-sizes[s] // 8), dtype=np.int32)
            columns[s] = 8 * len(places), 8 * (len(places) + len(granules))
            places += list(units[s] + granules[:, None])
        places += [np.zeros(MOST_BITS, np.int32)] * (-len(places) % 4)
        columns[segments[-1], 1] = 8 * len(places)
        ints, scale = integer_levels(bits, kept, dim, fitted=fitted)
        wide = not one_byte(kept, fitted=fitted)
        found.append([segments[0], segments[-1] + 1, kept, len(places), sum(len(w) for w in words), wide, 0, 0])
        scales.append(scale)
        words.append(_level_words(ints.astype(np.int16), wide=wide))
    table = np.ascontiguousarray(np.stack(places).T)
    return ScoreTables(columns, np.array(found, np.int32), np.array(scales, np.float32), np.concatenate(words), table)


@dataclass(frozen=True)
class StageTables:
    """The first stage of a codec, for kernels (docs/numerics.md section 12)."""

    #: Its bytes of a row.
    size: int
    #: (units, 2) int32: the segment of a unit and its first column; (units,) float32: what its bits are worth.
    units: NDArray[np.int32]
    values: NDArray[np.float32]
    #: (segments,) float32 what is expected of a coordinate's squared residual, and what the rounding of entries adds.
    residuals: NDArray[np.float32]
    rounding: np.float32


class FittedKey:
    """A fitted codec as drivers take it.

    Parameters
    ----------
    codec : reference.FittedTurboQuant
        Whose parts are kept by reference.
    """

    def __init__(self, codec: FittedTurboQuant) -> None:
        self.codec = codec
        self.fitted = codec.fitted
        self.segments = codec.spec.segments
        self.dim = codec.dim
        self.axes = sum(s.dim for s in self.segments)
        self.full = codec.spec.full
        self.scale = SCALES.index(codec.spec.scale)
        self.trials: NDArray[np.float32] = codec.trials()
        #: Equal for codecs of equal tables; the fingerprint does not know of ``refine``.
        self.key = (codec.spec.fingerprint, codec.spec.refine)
        self._decoding: dict[tuple[int, ...], SegmentTables] = {}
        self._scoring: dict[tuple[int, ...], ScoreTables] = {}
        #: Axes of the longest segment that lies in memory; 0 where none does.
        self.largest = max(s.dim if s.dim > LANES else 0 for s in self.segments)

    def row_bytes(self, keep: tuple[int, ...]) -> int:
        """Return the bytes of a packed row."""
        return self.codec.spec.row_bytes(keep)

    @property
    def centered(self) -> bool:
        """Whether the codec has a center."""
        return self.fitted.center is not None

    @cached_property
    def assignment(self) -> SegmentTables:
        """Tables for encoding: a width's boundaries for every trial (an entry unused), then its levels."""
        tables: list[NDArray[np.float32]] = []
        places: dict[int, int] = {}
        for bits in sorted(set(self.full)):
            level = levels(bits, bits, GAUSSIAN_DIM)
            table = np.full((len(self.trials) + 1, len(level)), np.inf, np.float32)
            for row, t in zip(table, self.trials, strict=False):
                row[:-1] = boundaries(level) / t
            table[-1] = level
            places[bits] = sum(len(part) for part in tables)
            tables.append(table.ravel())
        return self._tables(self.full, [places[bits] for bits in self.full], tables)

    def decoding(self, keep: tuple[int, ...]) -> SegmentTables:
        """Return tables for decoding ``keep`` bits of every segment: the levels of each pair of bits and kept bits."""
        if keep not in self._decoding:
            self._decoding[keep] = self._decoding_tables(keep)
        return self._decoding[keep]

    def _decoding_tables(self, keep: tuple[int, ...]) -> SegmentTables:
        tables: list[NDArray[np.float32]] = [np.zeros(1, np.float32)]
        places: dict[tuple[int, int], int] = {}
        for segment, kept in zip(self.segments, keep, strict=True):
            if kept and (segment.bits, kept) not in places:
                places[segment.bits, kept] = sum(len(part) for part in tables)
                tables.append(levels(segment.bits, kept, GAUSSIAN_DIM))
        at = [places[s.bits, kept] if kept else 0 for s, kept in zip(self.segments, keep, strict=True)]
        return self._tables(keep, at, tables)

    def scoring(self, keep: tuple[int, ...]) -> ScoreTables:
        """Return tables for scores of codes with ``keep`` bits of every segment."""
        if keep not in self._scoring:
            sizes = [segment.dim for segment in self.segments]
            self._scoring[keep] = score_tables(sizes, self.codec.groups(keep), self.units(keep), fitted=True)
        return self._scoring[keep]

    @cached_property
    def stage(self) -> StageTables | None:
        """The first stage, where a code has more than one unit."""
        stage = linear_stage(self.codec)
        if stage is None:
            return None
        order, taken, at, units, values = self.fitted.order[: stage.units], [0] * len(self.segments), 0, [], []
        for s in order:
            units.append([s, at])
            values.append(stage.values[s][taken[s]])
            taken[s] += 1
            at += -(-self.segments[s].dim // 8) * 8
        residuals = np.array(stage.residuals, np.float32)
        rounding = np.float32(stage.rounding)
        return StageTables(stage.size, np.array(units, np.int32), np.array(values, np.float32), residuals, rounding)

    def _tables(
        self, keep: tuple[int, ...], table_at: list[int], tables: Iterable[NDArray[np.float32]]
    ) -> SegmentTables:
        shape = np.zeros((len(self.segments), WORDS), np.int32)
        signs_at = source_at = 0
        for row, segment, steps, bits, at in zip(shape, self.segments, self._rotations, keep, table_at, strict=True):
            power = 1 << (segment.dim.bit_length() - 1)
            blocks = len(steps.signs)
            rounds = blocks if power == segment.dim else blocks // 2
            row[:] = segment.start, segment.dim, power, rounds, bits, signs_at, source_at, at
            signs_at += steps.signs.size
            source_at += steps.source.size
        return SegmentTables(shape, self.units(keep), np.concatenate(list(tables)).astype(np.float32))

    def units(self, keep: tuple[int, ...]) -> NDArray[np.int32]:
        """Return where the unit of every kept bit starts in a packed row, most significant first, (segments, 8)."""
        units = np.zeros((len(self.segments), MOST_BITS), np.int32)
        taken, at = [0] * len(self.segments), 0
        for segment in self.fitted.order[: sum(keep)]:
            units[segment, taken[segment]] = at
            taken[segment] += 1
            at += -(-self.segments[segment].dim // 8)
        return units

    @cached_property
    def cutting(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Levels of every number of bits of every width, and (segments, 9) int32: where those of 0 to 8 bits start."""
        tables, places = [np.zeros(1, np.float32)], np.zeros((len(self.segments), MOST_BITS + 1), np.int32)
        starts: dict[tuple[int, int], int] = {}
        for row, segment in zip(places, self.segments, strict=True):
            for kept in range(1, segment.bits + 1):
                if (segment.bits, kept) not in starts:
                    starts[segment.bits, kept] = sum(len(part) for part in tables)
                    tables.append(levels(segment.bits, kept, GAUSSIAN_DIM))
                row[kept] = starts[segment.bits, kept]
        return np.concatenate(tables), places

    @cached_property
    def reals(self) -> NDArray[np.float32]:
        """(segments, 2): the factor of a segment's transforms and its weight in sums."""
        factors = [steps.factor for steps in self._rotations]
        return np.stack([np.array(factors, np.float32), self.codec.weights], axis=1)

    @cached_property
    def _rotations(self) -> list[_Steps]:
        return [_steps(rotation.steps) for rotation in self.codec.rotations if isinstance(rotation, Rotation)]

    def signs(self) -> NDArray[np.uint32]:
        """Return the sign words of all segments, transform after transform."""
        return np.concatenate([steps.signs.ravel() for steps in self._rotations])

    def permutations(self, *, inverse: bool) -> NDArray[np.uint16]:
        """Return the permutations of all segments, or their inverses: y[i] = x[source[i]]. At least one entry."""
        parts = [np.argsort(s.source, axis=1) if inverse else s.source for s in self._rotations]
        return np.concatenate([*(part.ravel() for part in parts), np.zeros(1)]).astype(np.uint16)


def _level_words(ints: NDArray[np.int16], *, wide: bool) -> NDArray[np.uint32]:
    """Return integer levels as kernels look them up: bytes, four a word and sixteen at least, or halves of words."""
    if not wide:
        padded = np.zeros(max(len(ints), 16), np.int8)
        padded[: len(ints)] = ints
        return padded.view("<u4").astype(np.uint32)
    high = (ints + 64) >> 7
    halves = (high & 255) << 8 | (ints - 128 * high) & 255
    return halves.astype("<u2").view("<u4").astype(np.uint32)


@dataclass(frozen=True)
class _Steps:
    """A segment's rotation: (transforms, words) sign bits, (2, dim) permutations or none, and the factor."""

    signs: NDArray[np.uint32]
    source: NDArray[np.int64]
    factor: np.float32


def _steps(steps: list[Block | Shuffle]) -> _Steps:
    blocks = [step for step in steps if isinstance(step, Block)]
    power = len(blocks[0].factors)
    bits = np.zeros((len(blocks), -(-power // 32) * 32), np.uint8)
    bits[:, :power] = np.signbit(np.stack([block.factors for block in blocks]))
    signs = np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)
    shuffles = [step.source for step in steps if isinstance(step, Shuffle)]
    source = np.stack(shuffles) if shuffles else np.zeros((0, 0), np.int64)
    return _Steps(signs, source, np.abs(blocks[0].factors[0]))


def uploaded_planes(backend: Backend, codec: FittedKey, what: str) -> tuple[Any, Any]:
    """Return the device's copies of both planes of a matrix: "rows" of encoding, "queries" or "back" of decoding."""

    def matrix() -> NDArray[np.int16]:
        if what == "rows":
            return codec.fitted.transform
        return codec.codec.scoring if what == "queries" else np.ascontiguousarray(codec.codec.scoring.T)

    if what == "queries" and codec.fitted.dual is None:
        what = "rows"
    found = [
        uploaded(backend, f"fitted {what} {name}", codec.key[:1], lambda part=part: planes(matrix())[part])  # type: ignore[misc]
        for part, name in enumerate(("high", "low"))
    ]
    return found[0], found[1]


def uploaded_center(backend: Backend, codec: FittedKey) -> Any:
    """Return the device's copy of the center, or None."""
    center = codec.fitted.center
    return None if center is None else uploaded(backend, "fitted center", codec.key[:1], lambda: center)


def uploaded_rotations(backend: Backend, codec: FittedKey, *, inverse: bool) -> tuple[Any, Any, Any]:
    """Return the device's copies of the segments' (factor, weight), signs and permutations or their inverses."""
    key = codec.key[:1]
    return (
        uploaded(backend, "fitted reals", key, lambda: codec.reals),
        uploaded(backend, "fitted signs", key, codec.signs),
        uploaded(backend, f"fitted permutations {inverse}", key, lambda: codec.permutations(inverse=inverse)),
    )


def uploaded_segments(backend: Backend, codec: FittedKey, keep: tuple[int, ...] | None) -> tuple[Any, Any, Any]:
    """Return the device's copies of the segments' shape, units and tables: to decode ``keep`` bits, or to encode."""

    def part(name: str) -> NDArray[Any]:
        tables = codec.assignment if keep is None else codec.decoding(keep)
        result: NDArray[Any] = getattr(tables, name)
        return result

    found = [
        uploaded(backend, f"fitted segments {name}", (*codec.key, keep), lambda name=name: part(name))  # type: ignore[misc]
        for name in ("shape", "units", "tables")
    ]
    return found[0], found[1], found[2]

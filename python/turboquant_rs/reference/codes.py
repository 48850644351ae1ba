"""Encoded vectors and their byte format, version 1 (docs/format.md): the reference's own reader and writer."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import reduce
from itertools import product

from . import outliers as split
from .dense_rotation import ROTATIONS
from .fitted import Fitted, section_bytes
from .rng import derive, digest
from .sections import FORMAT_VERSION, MEANING, EncodedRows, check_padding, check_version, read_checksums, read_rows, up
from .units import row_bytes, stage_ends

MAGIC = b"TQCODE"
SCALES = ("unbiased", "mse", "matched", "paper")
_FIXED = struct.Struct("<6sHQQIBBBBQ")
_SEGMENT = struct.Struct("<IBBH")
#: Bits of the rotation's byte: the codec is fitted, has a center, has a dual; or its channels are split.
_FITTED, _CENTERED, _DUAL, _SPLIT = 128, 64, 32, 16


@dataclass(frozen=True)
class Segment:
    """A run of coordinates with one bit width, rotated on its own."""

    start: int
    dim: int
    bits: int


@dataclass(frozen=True)
class CodecSpec:
    """Everything that decides what a code means; ``refine`` is carried for information: it chooses codes only."""

    segments: tuple[Segment, ...]
    seed: int
    rotation: str
    scale: str
    refine: int
    fitted: Fitted | None = None
    outliers: tuple[int, ...] = ()
    """Channels of the first of two segments, ascending; of a codec whose channels are split."""

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return sum(s.dim for s in self.segments) if self.fitted is None else self.fitted.dim

    @property
    def norms(self) -> int:
        """Scales a vector: one a segment, one for all of them if fitted."""
        return len(self.segments) if self.fitted is None else 1

    @property
    def full(self) -> tuple[int, ...]:
        """Bits of every segment."""
        return tuple(s.bits for s in self.segments)

    def row_bytes(self, keep: tuple[int, ...]) -> int:
        """Return the bytes of a packed row that keeps these bits of every segment."""
        if self.fitted is not None:
            return sum(kept * -(-s.dim // 8) for s, kept in zip(self.segments, keep, strict=True))
        return sum(row_bytes(s.dim, s.bits, kept) for s, kept in zip(self.segments, keep, strict=True))

    def ends(self) -> list[tuple[int, ...]]:
        """Return what the prefixes that are codes of their own keep of every segment, the shortest first."""
        if self.fitted is not None:
            return self.fitted.prefixes(len(self.segments))[1:]
        return list(product(*(stage_ends(s.bits) for s in self.segments)))

    @property
    def section(self) -> bytes:
        """What describes a codec beside its header: what a fit has found, or which channels are outliers."""
        if self.fitted is not None:
            return self.fitted.to_bytes()
        return split.to_bytes(self.dim, self.outliers) if self.outliers else b""

    @property
    def fingerprint(self) -> int:
        """64-bit identity of the codec: equal for codecs whose codes mean the same."""
        words = [MEANING, self.dim, ROTATIONS.index(self.rotation), self.seed, SCALES.index(self.scale)]
        words.append(len(self.segments))
        for s in self.segments:
            words += [s.dim, s.bits]
        if self.fitted is not None:
            words.append(self.fitted.digest)
        if self.outliers:
            words.append(digest(self.section))
        return derive(0x5455_5242_4F51_5541, *words)


@dataclass(frozen=True)
class Codes(EncodedRows):
    """n encoded vectors: ``packed`` (n, bytes) uint8, ``scales`` (n, norms) float32, ``keep`` bits of each segment."""

    spec: CodecSpec
    keep: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Serialise: header, packed rows, scales; each section starts at a multiple of 64."""
        spec = self.spec
        head = _FIXED.pack(
            MAGIC,
            FORMAT_VERSION,
            spec.fingerprint,
            len(self),
            spec.dim,
            SCALES.index(spec.scale),
            spec.refine,
            ROTATIONS.index(spec.rotation) + _flags(spec),
            len(spec.segments),
            spec.seed,
        )
        entries = zip(spec.segments, self.keep, strict=True)
        head += b"".join(_SEGMENT.pack(s.dim, s.bits, keep, 0) for s, keep in entries)
        return self._file(head, spec.section)

    @staticmethod
    def from_bytes(data: bytes) -> Codes:
        """Read :meth:`to_bytes`'s bytes; every flipped bit and truncation raises ValueError."""
        if len(data) < _FIXED.size or data[:6] != MAGIC:
            raise ValueError("not a turboquant code file")
        _, version, fingerprint, n, dim, scale, refine, rotation, count, seed = _FIXED.unpack_from(data)
        check_version(version)
        fitted, centered, dual, halves = (bool(rotation & flag) for flag in (_FITTED, _CENTERED, _DUAL, _SPLIT))
        checksums, end = read_checksums(data, _FIXED.size + count * _SEGMENT.size, 3 if fitted or halves else 2)
        check_padding(data, end)
        fields = [_SEGMENT.unpack_from(data, _FIXED.size + i * _SEGMENT.size) for i in range(count)]
        starts = reduce(lambda acc, f: [*acc, acc[-1] + f[0]], fields, [0])
        segments = tuple(Segment(start, f[0], f[1]) for start, f in zip(starts, fields, strict=False))
        parts, section_at = None, up(end)
        outliers: tuple[int, ...] = ()
        packed_at = section_at
        if fitted or halves:
            lengths = [(f[0], f[1]) for f in fields]
            size = section_bytes(dim, lengths, centered=centered, dual=dual) if fitted else -(-dim // 8)
            if len(data) < section_at + size:
                raise ValueError("truncated codec section")
            section = data[section_at : section_at + size]
            if zlib.crc32(section) != checksums[2]:
                raise ValueError("codec section checksum")
            if fitted:
                parts = Fitted.from_bytes(section, dim, lengths, centered=centered, dual=dual)
                parts.check(lengths)
            else:
                outliers = split.from_bytes(section, dim)
                split.check(dim, (segments[0].bits, segments[1].bits), outliers)
            check_padding(data, section_at + size)
            packed_at = up(section_at + size)
        if (fitted and halves) or (not fitted and (count != 1 + halves or (halves and fields[0][0] != len(outliers)))):
            raise ValueError("no codec has such segments")
        spec = CodecSpec(segments, seed, ROTATIONS[rotation % _SPLIT], SCALES[scale], refine, parts, outliers)
        keep = tuple(f[2] for f in fields)
        if spec.fingerprint != fingerprint or spec.dim != dim or any(f[3] for f in fields):
            raise ValueError("header fields contradict each other")
        if keep not in spec.ends():
            raise ValueError("kept bits end no stage")
        packed, scales = read_rows(data, packed_at, n, spec.row_bytes(keep), spec.norms, checksums)
        return Codes(packed, scales, spec, keep)


def _flags(spec: CodecSpec) -> int:
    if spec.fitted is None:
        return _SPLIT if spec.outliers else 0
    return _FITTED + _CENTERED * (spec.fitted.center is not None) + _DUAL * (spec.fitted.dual is not None)

"""Encoded vectors and their byte format, version 1 (docs/format.md): the reference's own reader and writer."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import outliers as split
from .dense_rotation import ROTATIONS
from .fitted import Fitted, section_bytes
from .rng import derive, digest
from .units import row_bytes, stage_ends

#: Version of the bytes that are written; version 0 is laid out alike and read as well.
FORMAT_VERSION = 1
#: First word of fingerprints: it stays while codes mean what they mean, whatever version their bytes are.
MEANING = 0
MAGIC = b"TQCODE"
SCALES = ("unbiased", "mse", "matched", "paper")
_FIXED = struct.Struct("<6sHQQIBBBBQ")
_SEGMENT = struct.Struct("<IBBH")
_CRC = struct.Struct("<I")
_ALIGN = 64
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
class Codes:
    """n encoded vectors: ``packed`` (n, bytes) uint8, ``scales`` (n, norms) float32, ``keep`` bits of each segment."""

    packed: NDArray[np.uint8]
    scales: NDArray[np.float32]
    spec: CodecSpec
    keep: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: Any) -> Codes:
        return replace(self, packed=self.packed[rows], scales=self.scales[rows])

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.packed.nbytes + self.scales.nbytes

    def to_bytes(self) -> bytes:
        """Serialise: header, packed rows, scales; each section starts at a multiple of 64."""
        packed = np.ascontiguousarray(self.packed).tobytes()
        scales = np.ascontiguousarray(self.scales, dtype="<f4").tobytes()
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
        section = spec.section
        parts = [packed, scales, section] if section else [packed, scales]
        head += b"".join(_CRC.pack(zlib.crc32(part)) for part in parts)
        head += _CRC.pack(zlib.crc32(head))
        return _padded(head) + _padded(section) + _padded(packed) + scales

    @staticmethod
    def from_bytes(data: bytes) -> Codes:
        """Read :meth:`to_bytes`'s bytes; every flipped bit and truncation raises ValueError."""
        if len(data) < _FIXED.size or data[:6] != MAGIC:
            raise ValueError("not a turboquant code file")
        _, version, fingerprint, n, dim, scale, refine, rotation, count, seed = _FIXED.unpack_from(data)
        if version > FORMAT_VERSION:
            raise ValueError(f"format version {version}; this reader knows {FORMAT_VERSION}")
        fitted, centered, dual, halves = (bool(rotation & flag) for flag in (_FITTED, _CENTERED, _DUAL, _SPLIT))
        crcs = 4 if fitted or halves else 3
        end = _FIXED.size + count * _SEGMENT.size
        if len(data) < end + crcs * _CRC.size:
            raise ValueError("truncated header")
        *section_crcs, head_crc = struct.unpack_from(f"<{crcs}I", data, end)
        end += crcs * _CRC.size
        if zlib.crc32(data[: end - 4]) != head_crc:
            raise ValueError("header checksum")
        fields = [_SEGMENT.unpack_from(data, _FIXED.size + i * _SEGMENT.size) for i in range(count)]
        starts = reduce(lambda acc, f: [*acc, acc[-1] + f[0]], fields, [0])
        segments = tuple(Segment(start, f[0], f[1]) for start, f in zip(starts, fields, strict=False))
        parts, section_at = None, _up(end)
        outliers: tuple[int, ...] = ()
        packed_at = section_at
        if crcs == 4:
            lengths = [(f[0], f[1]) for f in fields]
            size = section_bytes(dim, lengths, centered=centered, dual=dual) if fitted else -(-dim // 8)
            if len(data) < section_at + size:
                raise ValueError("truncated codec section")
            section = data[section_at : section_at + size]
            if zlib.crc32(section) != section_crcs[2]:
                raise ValueError("codec section checksum")
            if fitted:
                parts = Fitted.from_bytes(section, dim, lengths, centered=centered, dual=dual)
                parts.check(lengths)
            else:
                outliers = split.from_bytes(section, dim)
                split.check(dim, (segments[0].bits, segments[1].bits), outliers)
            packed_at = _up(section_at + size)
        if (fitted and halves) or (not fitted and (count != 1 + halves or (halves and fields[0][0] != len(outliers)))):
            raise ValueError("no codec has such segments")
        spec = CodecSpec(segments, seed, ROTATIONS[rotation % _SPLIT], SCALES[scale], refine, parts, outliers)
        keep = tuple(f[2] for f in fields)
        if spec.fingerprint != fingerprint or spec.dim != dim or any(f[3] for f in fields):
            raise ValueError("header fields contradict each other")
        if keep not in spec.ends():
            raise ValueError("kept bits end no stage")
        width = spec.row_bytes(keep)
        scales_at = _up(packed_at + n * width)
        if len(data) != scales_at + n * 4 * spec.norms:
            raise ValueError("wrong length")
        gaps = [(end, section_at), (packed_at + n * width, scales_at)]
        if crcs == 4:
            gaps.append((section_at + size, packed_at))
        if any(any(data[start:stop]) for start, stop in gaps):
            raise ValueError("padding is not zero")
        packed = np.frombuffer(data, np.uint8, n * width, packed_at).reshape(n, width)
        scales = np.frombuffer(data, "<f4", n * spec.norms, scales_at).reshape(n, spec.norms)
        if zlib.crc32(packed.tobytes()) != section_crcs[0] or zlib.crc32(scales.tobytes()) != section_crcs[1]:
            raise ValueError("section checksum")
        return Codes(packed, scales.astype(np.float32), spec, keep)


def _flags(spec: CodecSpec) -> int:
    if spec.fitted is None:
        return _SPLIT if spec.outliers else 0
    return _FITTED + _CENTERED * (spec.fitted.center is not None) + _DUAL * (spec.fitted.dual is not None)


def _up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _padded(data: bytes) -> bytes:
    return data + bytes(_up(len(data)) - len(data))

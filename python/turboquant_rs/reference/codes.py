"""Encoded vectors and their byte format, version 0 (docs/format.md): the reference's own reader and writer."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rng import derive
from .units import row_bytes, stage_ends

FORMAT_VERSION = 0
MAGIC = b"TQCODE"
SCALES = ("unbiased", "mse", "matched", "paper")
ROTATIONS = ("hadamard",)
_FIXED = struct.Struct("<6sHQQIBBBBQ")
_SEGMENT = struct.Struct("<IBBH")
_CRCS = struct.Struct("<III")
_ALIGN = 64


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

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return sum(s.dim for s in self.segments)

    @property
    def fingerprint(self) -> int:
        """64-bit identity of the codec: equal for codecs whose codes mean the same."""
        words = [FORMAT_VERSION, self.dim, ROTATIONS.index(self.rotation), self.seed, SCALES.index(self.scale)]
        words.append(len(self.segments))
        for s in self.segments:
            words += [s.dim, s.bits]
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
            ROTATIONS.index(spec.rotation),
            len(spec.segments),
            spec.seed,
        )
        entries = zip(spec.segments, self.keep, strict=True)
        head += b"".join(_SEGMENT.pack(s.dim, s.bits, keep, 0) for s, keep in entries)
        head += struct.pack("<II", zlib.crc32(packed), zlib.crc32(scales))
        head += struct.pack("<I", zlib.crc32(head))
        return _padded(head) + _padded(packed) + scales

    @staticmethod
    def from_bytes(data: bytes) -> Codes:
        """Read :meth:`to_bytes`'s bytes; every flipped bit and truncation raises ValueError."""
        if len(data) < _FIXED.size or data[:6] != MAGIC:
            raise ValueError("not a turboquant code file")
        _, version, fingerprint, n, dim, scale, refine, rotation, count, seed = _FIXED.unpack_from(data)
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version}; this reader knows {FORMAT_VERSION}")
        end = _FIXED.size + count * _SEGMENT.size
        if len(data) < end + _CRCS.size:
            raise ValueError("truncated header")
        packed_crc, scales_crc, head_crc = _CRCS.unpack_from(data, end)
        if zlib.crc32(data[: end + 8]) != head_crc:
            raise ValueError("header checksum")
        fields = [_SEGMENT.unpack_from(data, _FIXED.size + i * _SEGMENT.size) for i in range(count)]
        starts = reduce(lambda acc, f: [*acc, acc[-1] + f[0]], fields, [0])
        segments = tuple(Segment(start, f[0], f[1]) for start, f in zip(starts, fields, strict=False))
        spec = CodecSpec(segments, seed, ROTATIONS[rotation], SCALES[scale], refine)
        keep = tuple(f[2] for f in fields)
        if spec.fingerprint != fingerprint or spec.dim != dim or any(f[3] for f in fields):
            raise ValueError("header fields contradict each other")
        if any(k not in stage_ends(s.bits) for s, k in zip(segments, keep, strict=True)):
            raise ValueError("kept bits end no stage")
        width = sum(row_bytes(s.dim, s.bits, k) for s, k in zip(segments, keep, strict=True))
        packed_at = _up(end + _CRCS.size)
        scales_at = _up(packed_at + n * width)
        if len(data) != scales_at + n * 4 * count:
            raise ValueError("wrong length")
        if any(data[end + _CRCS.size : packed_at]) or any(data[packed_at + n * width : scales_at]):
            raise ValueError("padding is not zero")
        packed = np.frombuffer(data, np.uint8, n * width, packed_at).reshape(n, width)
        scales = np.frombuffer(data, "<f4", n * count, scales_at).reshape(n, count)
        if zlib.crc32(packed.tobytes()) != packed_crc or zlib.crc32(scales.tobytes()) != scales_crc:
            raise ValueError("section checksum")
        return Codes(packed, scales.astype(np.float32), spec, keep)


def _up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _padded(data: bytes) -> bytes:
    return data + bytes(_up(len(data)) - len(data))

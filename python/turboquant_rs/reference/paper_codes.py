"""Codes of QJL, TurboQuant_prod and PolarQuant, and their bytes, version 1 (docs/format.md): the reference's own writer
and reader.

Beside ``Codes`` of TurboQuant they have no stages: a row is kept whole.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .projection import DENSE_MAX_DIM, DENSE_MAX_SIZE, PROJECTIONS
from .rng import derive
from .sections import FORMAT_VERSION, MEANING, EncodedRows, check_padding, check_version, read_checksums, read_rows, up
from .units import row_bytes as units_bytes

MAGIC = b"TQPAPR"
KINDS = ("qjl", "prod", "polar")
RADII = ("float16", "float32")
#: Most levels of a polar codec: dimensions go up to 2^16.
MAX_LEVELS = 16
_FIXED = struct.Struct("<6sHQQIBBBBQI16s")


@dataclass(frozen=True)
class PaperSpec:
    """What a codec of the papers is: everything that decides what its codes mean.

    ``kind`` in KINDS; ``choice`` the projection's or radius's number; ``bits``: (1,) for QJL, (b,) for prod, one a
    level for polar;
    ``size``: the sketch's, 0 for polar.
    """

    kind: str
    dim: int
    choice: int
    bits: tuple[int, ...]
    size: int
    seed: int

    @property
    def fingerprint(self) -> int:
        """64-bit identity of the codec: equal for codecs whose codes mean the same."""
        words = (MEANING, KINDS.index(self.kind), self.dim, self.choice, self.size, self.seed, len(self.bits))
        return derive(0x5455_5242_5041_5052, *words, *self.bits)

    @property
    def norms(self) -> int:
        """Scales a row: of the levels, where there are any, and of the sketch; polar rows hold their radii."""
        return {"qjl": 1, "prod": 1 if self.bits == (1,) else 2, "polar": 0}[self.kind]


@dataclass(frozen=True)
class PaperCodes(EncodedRows):
    """n encoded vectors: ``packed`` (n, bytes) uint8, ``scales`` (n, norms) float32."""

    spec: PaperSpec

    def __post_init__(self) -> None:
        if self.spec.kind == "polar":
            radii_of(self.spec, self.packed)

    def to_bytes(self) -> bytes:
        """Serialise: header, packed rows, scales; each section starts at a multiple of 64."""
        spec = self.spec
        head = _FIXED.pack(
            MAGIC,
            FORMAT_VERSION,
            spec.fingerprint,
            len(self),
            spec.dim,
            KINDS.index(spec.kind),
            spec.choice,
            len(spec.bits),
            0,
            spec.seed,
            spec.size,
            bytes(spec.bits),
        )
        return self._file(head)

    @staticmethod
    def from_bytes(data: bytes) -> PaperCodes:
        """Read :meth:`to_bytes`'s bytes; every flipped bit and truncation raises ValueError."""
        if len(data) < _FIXED.size or data[:6] != MAGIC:
            raise ValueError("not a code file of the papers' codecs")
        _, version, fingerprint, n, dim, kind, choice, count, zero, seed, size, bits = _FIXED.unpack_from(data)
        check_version(version)
        checksums, end = read_checksums(data, _FIXED.size, 2)
        check_padding(data, end)
        spec = PaperSpec(KINDS[kind], dim, choice, tuple(bits[:count]), size, seed)
        if spec.fingerprint != fingerprint or zero or any(bits[count:]):
            raise ValueError("header fields contradict each other")
        packed, scales = read_rows(data, up(end), n, row_bytes(spec), spec.norms, checksums)
        return PaperCodes(packed, scales, spec)


def row_bytes(spec: PaperSpec) -> int:
    """Return the bytes of a packed row: units of codes, sketch bits, or radii and angle codes.

    >>> row_bytes(PaperSpec("polar", 128, 0, (4, 2, 2, 2), 0, 0)), row_bytes(PaperSpec("prod", 128, 0, (4,), 128, 0))
    (62, 64)
    """
    if spec.kind == "polar":
        radius = (2, 4)[spec.choice]
        angles = sum((spec.dim >> level) * bits for level, bits in enumerate(spec.bits, 1))
        return radius * (spec.dim >> len(spec.bits)) + (angles + 7) // 8
    coarse = spec.bits[0] - 1
    return (spec.size + 7) // 8 + (units_bytes(spec.dim, coarse, coarse) if coarse else 0)


def radii_of(spec: PaperSpec, packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the radii that rows of polar codes start with, (n, dim/2^levels), as float32; ValueError where one is not
    finite or has a sign.

    >>> radii_of(PaperSpec("polar", 4, 0, (4,), 0, 0), np.array([[0, 60, 0, 64, 0]], np.uint8)).tolist()
    [[1.0, 2.0]]
    """
    dtype = np.dtype(("<f2", "<f4")[spec.choice])
    size = dtype.itemsize * (spec.dim >> len(spec.bits))
    radii: NDArray[np.float32] = np.ascontiguousarray(packed[:, :size]).view(dtype).astype(np.float32)
    faulty = np.argwhere(~np.isfinite(radii) | np.signbit(radii))
    if len(faulty):
        row, at = faulty[0]
        text = f"packed must be rows with finite radii that are not negative, got {radii[row, at]} at row {row}"
        raise ValueError(text)
    return radii


def check_sketch(dim: int, size: int, projection: str, seed: int) -> None:
    """Refuse what no sketch can be made of."""
    if projection not in PROJECTIONS:
        raise ValueError(f"projection must be one of {PROJECTIONS}, got {projection!r}")
    dense = projection != "hadamard"
    most_dim, most_size = (DENSE_MAX_DIM, DENSE_MAX_SIZE) if dense else (65_536, 65_536)
    if not 1 <= dim <= most_dim or not 1 <= size <= most_size or not 0 <= seed < 1 << 64:
        raise ValueError(f"dim must be 1 to {most_dim}, sketch_dim 1 to {most_size}, seed a 64-bit integer")

"""What code bytes of either kind share: rows with scales, the format's version, sections with their checksums
(docs/format.md).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

#: Version of the bytes that are written; version 0 is laid out alike and read as well.
FORMAT_VERSION = 1
#: First word of fingerprints: it stays while codes mean what they mean, whatever version their bytes are.
MEANING = 0
_ALIGN = 64

_Rows = TypeVar("_Rows", bound="EncodedRows")


@dataclass(frozen=True)
class EncodedRows:
    """n encoded vectors: ``packed`` (n, bytes) uint8, ``scales`` (n, norms) float32."""

    packed: NDArray[np.uint8]
    scales: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self: _Rows, rows: Any) -> _Rows:
        return replace(self, packed=self.packed[rows], scales=self.scales[rows])

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.packed.nbytes + self.scales.nbytes

    def _file(self, head: bytes, section: bytes = b"") -> bytes:
        """Return the bytes of a file: the head with checksums, a section that may be none, packed rows, scales."""
        packed = np.ascontiguousarray(self.packed).tobytes()
        scales = np.ascontiguousarray(self.scales, dtype="<f4").tobytes()
        for part in (packed, scales, section)[: 3 if section else 2]:
            head += struct.pack("<I", zlib.crc32(part))
        head += struct.pack("<I", zlib.crc32(head))
        return b"".join(part + bytes(up(len(part)) - len(part)) for part in (head, section, packed)) + scales


def check_version(version: int) -> None:
    """Refuse a version that came later."""
    if version > FORMAT_VERSION:
        raise ValueError(f"format version {version}; this reader knows {FORMAT_VERSION}")


def read_checksums(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Return the checksums of ``count`` sections behind a head of ``at`` bytes, and where that of the head ends."""
    end = at + 4 * count + 4
    if len(data) < end:
        raise ValueError("truncated header")
    *sections, head = struct.unpack_from(f"<{count + 1}I", data, at)
    if zlib.crc32(data[: end - 4]) != head:
        raise ValueError("header checksum")
    return sections, end


def read_rows(
    data: bytes, at: int, n: int, width: int, norms: int, checksums: list[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return n packed rows of ``width`` bytes from byte ``at`` on, and their scales, which end the data."""
    end = at + n * width
    scales_at = up(end)
    if len(data) != scales_at + n * 4 * norms:
        raise ValueError("wrong length")
    check_padding(data, end)
    if zlib.crc32(data[at:end]) != checksums[0] or zlib.crc32(data[scales_at:]) != checksums[1]:
        raise ValueError("section checksum")
    packed = np.frombuffer(data, np.uint8, n * width, at).reshape(n, width)
    scales = np.frombuffer(data, "<f4", n * norms, scales_at).reshape(n, norms)
    return packed, scales.astype(np.float32)


def check_padding(data: bytes, end: int) -> None:
    """Refuse bytes other than 0 between the end of a section and the next multiple of 64."""
    if any(data[end : up(end)]):
        raise ValueError("padding is not zero")


def up(size: int) -> int:
    """Return the multiple of 64 that is not below ``size``.

    >>> up(64), up(65)
    (64, 128)
    """
    return -(-size // _ALIGN) * _ALIGN

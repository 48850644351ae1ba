"""Codes: encoded vectors as two NumPy arrays, with the identity of their codec."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core

if TYPE_CHECKING:
    from .codec import TurboQuant

#: More than the longest header without the section of a fitted codec, so that one read tells the length of both.
_HEADER_READ = 4096


class Codes:
    """n encoded vectors.

    Made by :meth:`TurboQuant.encode`, :meth:`from_bytes` or :meth:`load`. Immutable in length; safe to read from any
    thread.

    Attributes
    ----------
    packed : ndarray of uint8, shape (n, bytes)
        Packed codes, row-major; the layout is docs/format.md.
    scales : ndarray of float32, shape (n, norms)
        What a row's levels are multiplied with. One number a row (``norms`` is 1) in this version.
    codec : TurboQuant
        The codec that made them.
    bits : int or float
        Bits a coordinate that are present: the codec's, or fewer after :meth:`truncate`. Of a fitted codec the average
        over all coordinates, a float.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import TurboQuant
    >>> codes = TurboQuant(64, bits=4).encode(np.ones((10, 64)))
    >>> codes
    Codes(n=10, dim=64, bits=4, 36.0 bytes per vector)
    >>> len(codes[2:5]), len(codes[[0, 7]]), len(codes[codes.scales[:, 0] > 0])
    (3, 2, 10)
    """

    __slots__ = ("bits", "codec", "packed", "scales")
    #: Arrays leave comparison and arithmetic with codes to this class, which has none but equality.
    __array_ufunc__ = None

    packed: NDArray[np.uint8]
    scales: NDArray[np.float32]
    codec: TurboQuant
    bits: int | float

    def __init__(self, packed: NDArray[np.uint8], scales: NDArray[np.float32], codec: TurboQuant, bits: float) -> None:
        self.packed = packed
        self.scales = scales
        self.codec = codec
        self.bits = bits

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any] | int) -> Codes:
        """Return the selected rows: a view for slices and integers (one row), a copy for integer and boolean arrays."""
        if isinstance(rows, tuple):
            raise TypeError("codes take one index, over rows")
        if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} is out of range for {len(self)} codes")
            at = int(rows) % len(self)
            rows = slice(at, at + 1)
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.size == 0 and rows.dtype.kind == "f":
                rows = rows.astype(np.int64)
            if rows.ndim != 1 or rows.dtype.kind not in "iub":
                raise IndexError("rows must be an integer, a slice, or a 1-D integer or boolean array")
        return Codes(self.packed[rows], self.scales[rows], self.codec, self.bits)

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.codec.dim

    @property
    def nbytes(self) -> int:
        """Bytes of packed codes and scales."""
        return self.packed.nbytes + self.scales.nbytes

    @property
    def bits_per_dim(self) -> float:
        """Bits a coordinate, scales and padding included; 0 without rows."""
        return 8 * self.nbytes / (len(self) * self.dim) if len(self) else 0.0

    @property
    def fingerprint(self) -> int:
        """64-bit identity of the codec."""
        return self.codec.fingerprint

    def truncate(self, bits: float) -> Codes:
        """Return codes of the top ``bits`` bits, without the vectors: a copy with scales derived from the codes.

        Good at every stage: 1, 2 and 4 bits, for 3-bit codes 1. The top 2 of 4 bits have distortion 0.1203, codes
        made at 2 bits 0.1175. Codes of a fitted codec can be cut to any number of bits, whole or not (an int, a float
        or a Fraction): the longest prefix of their units in ⌈dim·bits/8⌉ bytes, the best code of its size. However a
        length is reached, the result is the same.

        Raises
        ------
        ValueError
            If no stage ends at ``bits``, or the codes have fewer; for fitted codes, if not even the first unit fits.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import TurboQuant
        >>> TurboQuant(64, bits=4).encode(np.ones((10, 64))).truncate(1)
        Codes(n=10, dim=64, bits=1, 12.0 bytes per vector)
        """
        from ._arrays import as_int

        core, keep = self.codec._core, self.codec._keep(self.bits)
        if self.codec.fitted:
            row_bits = min(self.codec._row_bits(bits), core.row_bits(keep))
            packed, scales = core.truncate(*self._contiguous(), keep, row_bits)
            return Codes(packed, scales, self.codec, core.row_bits(core.prefix(row_bits)) / self.dim)
        bits = as_int(bits, "bits", 1, 8)
        packed, scales = core.truncate(*self._contiguous(), keep, bits)
        return Codes(packed, scales, self.codec, bits)

    @staticmethod
    def concatenate(parts: Sequence[Codes]) -> Codes:
        """Return the rows of all ``parts`` in order (a copy). They must come from one codec and have the same bits."""
        parts = list(parts)
        if not parts:
            raise ValueError("parts must hold at least one Codes, got none")
        first = parts[0]
        for i, part in enumerate(parts):
            if not isinstance(part, Codes):
                raise TypeError(f"parts must be Codes, got {type(part).__name__} at {i}")
            if part.codec != first.codec or part.bits != first.bits:
                raise ValueError(f"parts must come from one codec with the same bits, got another at {i}: {part!r}")
        packed = np.concatenate([part.packed for part in parts])
        return Codes(packed, np.concatenate([part.scales for part in parts]), first.codec, first.bits)

    def to_bytes(self) -> bytes:
        """Return the codes with a description of their codec and checksums as bytes: docs/format.md, version 0."""
        return self.codec._core.to_bytes(*self._contiguous(), self.codec._keep(self.bits))

    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> Codes:
        """Return the codes in :meth:`to_bytes`'s bytes (a copy).

        Raises
        ------
        CorruptError
            If a bit is flipped or a byte missing anywhere; the message names section and offset. Also for a newer
            format version.
        """
        try:
            view = memoryview(data)
        except TypeError:
            raise TypeError(f"data must be bytes or an object with a buffer, got {type(data).__name__}") from None
        core, keep, packed, scales = _core.codes_from_bytes(bytes(view))
        return Codes(packed, scales, *_codec_and_bits(core, keep))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_bytes` to ``path`` through a temporary file, so that a crash leaves an old file whole."""
        from ._files import writing

        with writing(path, self.codec, len(self), self.bits) as writer:
            writer.write(self)

    @staticmethod
    def load(path: str | os.PathLike[str], *, mmap: bool = False, verify: bool = True) -> Codes:
        """Read codes from a file that :meth:`save` or ``turboquant encode`` wrote.

        With ``mmap=True`` the packed codes stay in the file and are mapped read-only. ``verify`` checks the sections'
        checksums, which reads the file once; the header is always checked.

        Raises
        ------
        CorruptError
            As for :meth:`from_bytes`.
        """
        path = Path(path)
        core, keep, rows, packed_at, scales_at, packed_crc, scales_crc, _ = read_header(path)
        codec, bits = _codec_and_bits(core, keep)
        shape = (rows, core.row_bytes(keep))
        packed: NDArray[np.uint8]
        if rows == 0:
            packed, scales = np.empty(shape, np.uint8), np.empty((0, codec._core.norms), np.float32)
        else:
            packed = np.memmap(path, np.uint8, "r", packed_at, shape)
            scales = np.memmap(path, "<f4", "r", scales_at, (rows, codec._core.norms))
            scales = np.array(scales, np.float32)
            if not mmap:
                packed = np.array(packed)
        if verify:
            _check_padding(path, packed_at + packed.nbytes, scales_at)
            for what, section, crc, at in (
                ("packed codes", packed, packed_crc, packed_at),
                ("scales", scales.astype("<f4", copy=False), scales_crc, scales_at),
            ):
                if zlib.crc32(section.data) != crc:
                    text = f"damaged code bytes: {what} fail their checksum, section starts at byte {at} of {path}"
                    raise _core.CorruptError(text)
        return Codes(packed, scales, codec, bits)

    def _contiguous(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return np.ascontiguousarray(self.packed), np.ascontiguousarray(self.scales)

    def __reduce__(self) -> tuple[Any, ...]:
        return Codes.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes):
            return NotImplemented
        same = self.codec == other.codec and self.bits == other.bits
        return same and np.array_equal(self.packed, other.packed) and np.array_equal(self.scales, other.scales)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        size = self.codec.bytes_per_vector(self.bits)
        return f"Codes(n={len(self)}, dim={self.dim}, bits={self.bits:g}, {size:.1f} bytes per vector)"


def read_header(path: str | os.PathLike[str]) -> tuple[_core.Codec, list[int], int, int, int, int, int, int]:
    """Return what ``header_from_bytes`` finds in a file of codes; the section of a fitted codec is read with it."""
    path = Path(path)
    with path.open("rb") as file:
        data = file.read(_HEADER_READ)
        length = _core.header_len(data)
        data += file.read(max(0, length - len(data)))
    return _core.header_from_bytes(data, path.stat().st_size)


def _codec_and_bits(core: _core.Codec, keep: list[int]) -> tuple[TurboQuant, int | float]:
    from .codec import TurboQuant

    return TurboQuant._from_core(core), core.row_bits(keep) / core.dim if core.fitted else keep[0]


def _check_padding(path: Path, start: int, end: int) -> None:
    """Refuse bytes between two sections that are not 0."""
    with path.open("rb") as file:
        file.seek(start)
        padding = file.read(end - start)
    if any(padding):
        at = start + next(i for i, byte in enumerate(padding) if byte)
        raise _core.CorruptError(f"damaged code bytes: padding is not zero at byte {at} of {path}")

"""Codes: encoded vectors as two arrays, on the CPU or a GPU, with the identity of their codec."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import TO_HOST, as_bytes, as_int
from ._device import as_device, describe, device_of, namespace_of, on_cuda, scope
from ._rates import Bits, bits_of, cut, pair_of, shown

if TYPE_CHECKING:
    from .codec import TurboQuant

#: More than the longest header without the section of a fitted codec, so that one read tells the length of both.
_HEADER_READ = 4096
#: First bytes of codes of QJL, TurboQuantProd and PolarQuant, which are read by a class of their own.
PAPER_MAGIC = b"TQPAPR"
#: First bytes of index files, which :meth:`Index.open` reads.
_INDEX_MAGIC = b"TQINDX"

#: Bytes of codes on a GPU that pass through the host at a time on their way to a file.
_SAVE_BYTES = 64 << 20


class Codes:
    """n encoded vectors.

    Made by :meth:`TurboQuant.encode`, :meth:`from_bytes` or :meth:`load`; ``Codes(packed, scales, codec, bits)`` takes
    both arrays as they are, uncopied, and refuses other dtypes and shapes. Immutable in length; safe to read from any
    thread.

    Codes of a GPU's array stay on that GPU, and so does what is made of them: slices, selections, truncated codes,
    decoded vectors, scores. They move by :meth:`to`, never by themselves; an operation on codes or arrays of two
    devices is refused. Bytes, files and command line read and write them through the host.

    Attributes
    ----------
    packed : array of uint8, shape (n, bytes)
        Packed codes, row-major; the layout is docs/format.md. NumPy on the CPU, CuPy on a GPU
        (``torch.from_dlpack(codes.packed)`` views it as a tensor).
    scales : array of float32, shape (n, norms)
        What a row's levels are multiplied with. One number a row; two where outliers have a segment of their own.
    codec : TurboQuant
        The codec that made them.
    bits : int, float or tuple
        Bits a coordinate that are present: the codec's, or fewer after :meth:`truncate`. Of a fitted codec the average
        over all coordinates, a float; of one with outliers two numbers, theirs first.

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

    packed: Any
    scales: Any
    codec: TurboQuant
    bits: Bits

    def __init__(self, packed: Any, scales: Any, codec: TurboQuant, bits: Bits) -> None:
        from .codec import TurboQuant

        if not isinstance(codec, TurboQuant):
            raise TypeError(f"codec must be a TurboQuant, got {type(codec).__name__}")
        check_arrays(packed, scales, codec._core.row_bytes(codec._keep(bits)), codec._core.norms)
        self.packed = packed
        self.scales = scales
        self.codec = codec
        self.bits = bits

    @classmethod
    def _made(cls, packed: Any, scales: Any, codec: TurboQuant, bits: Bits) -> Codes:
        """Return codes of arrays that this package made, unchecked."""
        codes = cls.__new__(cls)
        codes.packed = packed
        codes.scales = scales
        codes.codec = codec
        codes.bits = bits
        return codes

    def _with(self, packed: Any, scales: Any) -> Codes:
        """Return codes of the same kind, codec and bits with other rows."""
        return self._made(packed, scales, self.codec, self.bits)

    def __len__(self) -> int:
        return int(self.packed.shape[0])

    def __array__(self, *_: object, **__: object) -> NoReturn:
        # Without it NumPy would take codes for a sequence of codes without end.
        raise TypeError("codes are not an array; codes.packed has their bytes, codec.decode(codes) their vectors")

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any] | int) -> Codes:
        """Return the selected rows: a view for slices and integers (one row), a copy for integer and boolean arrays.

        Arrays of rows for codes on a GPU may be on the host or on that GPU; checking the latter waits for the GPU.
        """
        if isinstance(rows, tuple):
            raise TypeError("codes take one index, over rows")
        if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} is out of range for {len(self)} codes")
            at = int(rows) % len(self)
            rows = slice(at, at + 1)
        with scope(self.device):
            if isinstance(rows, slice):
                return self._with(self.packed[rows, ...], self.scales[rows, ...])
            xp, numbers = namespace_of(self.packed), self._row_numbers(rows)
            packed, scales = (xp.take(array, numbers, axis=0) for array in (self.packed, self.scales))
        return self._with(packed, scales)

    def _row_numbers(self, rows: Any) -> Any:
        """Return row numbers from 0, or those of a mask, in the namespace of the codes and on their device."""
        xp = namespace_of(self.packed)
        if on_cuda(rows, "rows"):
            if self.device == "cpu":
                text = f"rows must be on the CPU, where the codes are, got a CUDA array ({describe(rows)})"
                raise ValueError(f"{text}; copy it to the host: {TO_HOST.format('rows')}")
            from .gpu.arrays import as_cupy

            rows = as_cupy(rows, "rows", self.device)
        else:
            rows = np.asarray(rows)
            if rows.size == 0 and rows.dtype.kind == "f":
                rows = rows.astype(np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iub":
            raise IndexError("rows must be an integer, a slice, or a 1-D integer or boolean array")
        own, n = namespace_of(rows), len(self)
        if rows.dtype.kind == "b":
            if len(rows) != n:
                raise IndexError(f"a mask must have one entry for each of {n} codes, got {len(rows)}")
            (numbers,) = own.nonzero(rows)
        else:
            # CuPy wraps numbers that are out of range instead of refusing them.
            signed = rows.dtype != np.uint64
            numbers = rows.astype(np.int64) if signed else rows
            outside = (numbers < -n) | (numbers >= n) if signed else numbers >= n
            if bool(own.any(outside)):
                first = int(own.argmax(outside.astype(np.uint8)))
                raise IndexError(f"row {int(numbers[first])} is out of range for {n} codes")
            numbers = numbers.astype(np.int64)
            numbers = own.where(numbers < 0, numbers + n, numbers)
        return numbers if own is xp else xp.asarray(numbers, device=self.packed.device)

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.codec.dim

    @property
    def nbytes(self) -> int:
        """Bytes of packed codes and scales."""
        return int(self.packed.size) + 4 * int(self.scales.size)

    @property
    def device(self) -> str:
        """Where the codes live: "cpu", or "cuda:0" and so on; what :meth:`to` takes.

        >>> import numpy as np
        >>> from turboquant_rs import TurboQuant
        >>> TurboQuant(64).encode(np.ones((10, 64))).device
        'cpu'
        """
        return device_of(self.packed)

    def to(self, device: str) -> Codes:
        """Return the codes on ``device``: these themselves where they are there already, else a copy.

        Parameters
        ----------
        device : str
            "cpu"; "cuda", CuPy's current GPU; or "cuda:0", "cuda:1" and so on.

        Returns
        -------
        Codes
            Of the same codec, bits and bytes. A copy to the host has arrived when the call returns; one to or between
            GPUs is queued on CuPy's current stream of the target.

        Raises
        ------
        ImportError
            Where CuPy is missing; the message says how to install it.
        MemoryError
            Where the GPU has too little; the message has the bytes.
        ValueError, RuntimeError
            For a device that is no name of one, or that this machine does not have; for codes of a codec with outliers,
            which has no kernels there yet.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import TurboQuant
        >>> codes = TurboQuant(64).encode(np.ones((10, 64)))
        >>> codes.to("cpu") is codes           # codes.to("cuda") copies them to the current GPU
        True
        """
        if self.codec._cpu_only and device != "cpu":
            raise ValueError(
                f"codes of {self.codec._cpu_only} must stay on the CPU in this version, got device {device!r}"
            )
        name = as_device(device)
        if name == self.device:
            return self
        from .gpu.arrays import moved

        packed, scales = moved((self.packed, self.scales), self.device, name)
        return self._with(packed, scales)

    @property
    def bits_per_dim(self) -> float:
        """Bits a coordinate, scales and padding included; 0 without rows."""
        return 8 * self.nbytes / (len(self) * self.dim) if len(self) else 0.0

    @property
    def fingerprint(self) -> int:
        """64-bit identity of the codec."""
        return self.codec.fingerprint

    def truncate(self, bits: Bits) -> Codes:
        """Return codes of the top ``bits`` bits, without the vectors: a copy with scales derived from the codes.

        Good at every stage: 1, 2 and 4 bits, for 3-bit codes 1. The top 2 of 4 bits have distortion 0.1203, codes
        made at 2 bits 0.1175. Codes of a fitted codec can be cut to any number of bits, whole or not (an int, a float
        or a Fraction): the longest prefix of their units in ⌈dim·bits/8⌉ bytes, the best code of its size. However a
        length is reached, the result is the same. Of codes with outliers both segments are cut to ``bits``, or, if that
        is two numbers, each to its own.

        Raises
        ------
        ValueError
            If no stage ends at ``bits``, or the codes have fewer; for fitted codes, if they hold fewer (what they were
            cut to may be asked again), or ``bits`` is less than their first unit.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import TurboQuant
        >>> TurboQuant(64, bits=4).encode(np.ones((10, 64))).truncate(1)
        Codes(n=10, dim=64, bits=1, 12.0 bytes per vector)
        """
        core, keep = self.codec._core, self.codec._keep(self.bits)
        if self.codec.fitted:
            left = cut(self.codec, bits, keep)
            row_bits = core.row_bits(left)
            if isinstance(self.packed, np.ndarray):
                packed, scales = core.truncate(*self._contiguous(), keep, row_bits)
            else:
                from .gpu import codec as gpu

                packed, scales = gpu.cut(self, keep, left)
            return self._made(packed, scales, self.codec, row_bits / self.dim)
        if self.codec.split:
            kept = pair_of(bits)
            packed, scales = core.truncate_each(*self._contiguous(), keep, kept)
            return self._made(packed, scales, self.codec, (kept[0], kept[1]))
        bits = as_int(bits, "bits", 1, 8)
        if isinstance(self.packed, np.ndarray):
            packed, scales = core.truncate(*self._contiguous(), keep, bits)
        else:
            from ._truncate import truncate

            shape = (self.dim, core.full[0], keep[0], bits)
            with scope(self.device):
                packed, scales = truncate(self.packed, self.scales, *shape, self.codec.scale)
        return self._made(packed, scales, self.codec, bits)

    @staticmethod
    def concatenate(parts: Sequence[Codes]) -> Codes:
        """Return the rows of all ``parts`` in order (a copy). They must be of one codec, width and device."""
        return Codes._joined(parts)

    @classmethod
    def _joined(cls, parts: Sequence[Codes]) -> Codes:
        """Return the rows of all ``parts``, which must be of this class."""
        parts = list(parts)
        if not parts:
            raise ValueError(f"parts must hold at least one {cls.__name__}, got none")
        first = parts[0]
        for i, part in enumerate(parts):
            if not isinstance(part, cls):
                raise TypeError(f"parts must be {cls.__name__}, got {type(part).__name__} at {i}")
            if part.codec != first.codec or part.bits != first.bits:
                raise ValueError(f"parts must come from one codec with the same bits, got another at {i}: {part!r}")
            if part.device != first.device:
                text = f"parts must be on one device, got {first.device} at 0 and {part.device} at {i}"
                raise ValueError(f'{text}; move them first: codes.to("{first.device}")')
        xp = namespace_of(first.packed)
        join = np.concatenate if xp is np else xp.concat
        with scope(first.device):
            packed, scales = join([part.packed for part in parts]), join([part.scales for part in parts])
        return first._with(packed, scales)

    def to_bytes(self) -> bytes:
        """Return the codes with a description of their codec and checksums as bytes: docs/format.md, version 1.

        Codes on a GPU are copied to the host; the bytes do not tell where they were.
        """
        return self.codec._core.to_bytes(*self.to("cpu")._contiguous(), self.codec._keep(self.bits))

    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> Codes:
        """Return the codes in :meth:`to_bytes`'s bytes (a copy), on the CPU.

        Raises
        ------
        CorruptError
            If a bit is flipped or a byte missing anywhere; the message names section and offset. Also for a newer
            format version.
        """
        whole = as_bytes(data)
        if whole.startswith(PAPER_MAGIC):
            from .paper_codes import PaperCodes

            return PaperCodes.from_bytes(whole)
        core, keep, packed, scales = _core.codes_from_bytes(whole)
        return Codes._made(packed, scales, *_codec_and_bits(core, keep))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_bytes` to ``path`` through a temporary file, so that a crash leaves an old file whole.

        Codes on a GPU pass through the host 64 MiB at a time.
        """
        from ._files import writing

        step = len(self) if self.device == "cpu" else _SAVE_BYTES // self.codec.bytes_per_vector(self.bits)
        with writing(path, self.codec, len(self), self.bits) as writer:
            for first in range(0, len(self), max(1, step)):
                writer.write(self[first : first + step].to("cpu"))

    @staticmethod
    def load(path: str | os.PathLike[str], *, mmap: bool = False, verify: bool = True) -> Codes:
        """Read codes from a file that :meth:`save` or ``turboquant encode`` wrote, onto the CPU.

        With ``mmap=True`` the packed codes stay in the file and are mapped read-only. ``verify`` checks the sections'
        checksums, which reads the file once; the header is always checked.

        Raises
        ------
        CorruptError
            As for :meth:`from_bytes`.
        """
        path = Path(path)
        with path.open("rb") as file:
            paper = file.read(len(PAPER_MAGIC)) == PAPER_MAGIC
        if paper:
            from .paper_codes import PaperCodes

            return PaperCodes.load(path, mmap=mmap, verify=verify)
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
        return Codes._made(packed, scales, codec, bits)

    def _contiguous(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return both arrays for the Rust core, which reads host memory."""
        if self.device != "cpu":
            raise ValueError(f'codes must be on the CPU here, got codes on {self.device}; move them: codes.to("cpu")')
        return np.ascontiguousarray(self.packed), np.ascontiguousarray(self.scales)

    def __reduce__(self) -> tuple[Any, ...]:
        # As an array of CuPy's: a pickle of codes on a GPU gives codes on a GPU, the one of the same number.
        return _unpickle, (self.to_bytes(), self.device)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes):
            return NotImplemented
        if self.device != other.device:
            text = f"codes on {self.device} and on {other.device} cannot be compared"
            raise ValueError(f'{text}; move one first: codes.to("cpu")')
        if self.codec != other.codec or self.bits != other.bits or len(self) != len(other):
            return False
        xp = namespace_of(self.packed)
        with scope(self.device):
            return bool(xp.all(self.packed == other.packed)) and bool(xp.all(self.scales == other.scales))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        size = self.codec.bytes_per_vector(self.bits)
        where = "" if self.device == "cpu" else f", on {self.device}"
        return f"Codes(n={len(self)}, dim={self.dim}, bits={shown(self.bits)}, {size:.1f} bytes per vector{where})"


def check_codec(codes: Any, codec: Any) -> None:
    """Refuse what are no codes, and codes of another codec than ``codec``, of whatever kind both are."""
    if not isinstance(codes, Codes):
        raise TypeError(f"codes must be Codes, got {type(codes).__name__}")
    if codes.fingerprint != codec.fingerprint:
        raise ValueError(
            f"codes must come from this codec, {codec!r} with fingerprint {codec.fingerprint:016x}; "
            f"got codes of {codes.codec!r} with {codes.fingerprint:016x}"
        )


def check_arrays(packed: Any, scales: Any, row_bytes: int, norms: int) -> None:
    """Refuse arrays, of NumPy or a GPU's library, that are no codes with rows of so many bytes and scales."""
    for name, array, dtype, columns in (("packed", packed, "uint8", row_bytes), ("scales", scales, "float32", norms)):
        if not all(hasattr(array, needed) for needed in ("dtype", "ndim", "shape")):
            raise TypeError(f"{name} must be an array of {dtype}, got {type(array).__name__}")
        # Other libraries' dtypes print like NumPy's with a module before them.
        if str(array.dtype).rpartition(".")[2] != dtype:
            raise TypeError(f"{name} must be an array of {dtype}, got dtype {array.dtype}")
        if array.ndim != 2 or array.shape[1] != columns:
            raise ValueError(f"{name} must have the shape (n, {columns}), got {tuple(array.shape)}")
    if packed.shape[0] != scales.shape[0]:
        raise ValueError(f"scales must have a row for each of {packed.shape[0]} packed rows, got {scales.shape[0]}")


def read_header(path: str | os.PathLike[str]) -> tuple[_core.Codec, list[int], int, int, int, int, int, int]:
    """Return what ``header_from_bytes`` finds in a file of codes; the section of a fitted codec is read with it."""
    path = Path(path)
    with path.open("rb") as file:
        data = file.read(_HEADER_READ)
        if data.startswith(_INDEX_MAGIC):
            raise _core.CorruptError(f"{path} is an index file, not a file of codes; Index.open reads it")
        try:
            length = _core.header_len(data)
            data += file.read(max(0, length - len(data)))
            return _core.header_from_bytes(data, path.stat().st_size)
        except _core.CorruptError as error:
            text = str(error)
            raise _core.CorruptError(f"{text} of {path}" if text[-1].isdigit() else f"{path}: {text}") from None


def _codec_and_bits(core: _core.Codec, keep: list[int]) -> tuple[TurboQuant, Bits]:
    from .codec import TurboQuant

    return TurboQuant._from_core(core), bits_of(core, keep)


def _unpickle(data: bytes, device: str) -> Codes:
    return Codes.from_bytes(data).to(device)


def _check_padding(path: Path, start: int, end: int) -> None:
    """Refuse bytes between two sections that are not 0."""
    with path.open("rb") as file:
        file.seek(start)
        padding = file.read(end - start)
    if any(padding):
        at = start + next(i for i, byte in enumerate(padding) if byte)
        raise _core.CorruptError(f"damaged code bytes: padding is not zero at byte {at} of {path}")

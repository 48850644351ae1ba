"""Input files: what a file is, and vectors of .npy files and .npz members a block of rows at a time."""

from __future__ import annotations

import contextlib
import lzma
import math
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ._output import Failure

Kind = Literal["npy", "npz", "codes", "paper codes", "index"]

_MAGIC: dict[bytes, Kind] = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"PK\x05\x06": "npz",
    b"TQCODE": "codes",
    b"TQPAPR": "paper codes",
    b"TQINDX": "index",
}
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Vectors(ABC):
    """A stored array: what its header says, and its rows.

    Attributes
    ----------
    path : Path
    name : str
        For messages: the path, with the member's name for .npz.
    shape : tuple of int
    dtype : numpy.dtype
    fortran : bool
        Stored column by column.
    """

    def __init__(self, path: Path, name: str, header: tuple[tuple[int, ...], bool, np.dtype[Any]]) -> None:
        self.path = path
        self.name = name
        self.shape, self.fortran, self.dtype = header
        # One row or one column is the same in both orders, and rows can be streamed.
        self.fortran = self.fortran and len(self.shape) > 1 and min(self.shape) > 1

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def fault(self, ranks: tuple[int, ...] = (2,)) -> str | None:
        """Return why these are no vectors, with advice; None if they are."""
        if self.dtype.hasobject or self.dtype.kind not in "fiub":
            return f"{self.name} must hold real numbers, got dtype {self.dtype}; convert it with astype(numpy.float32)"
        if len(self.shape) not in ranks:
            shape = f"{len(self.shape)}-D with shape {self.shape}"
            return f"{self.name} must be 2-D, (vectors, dimensions), got {shape}; reshape it"
        if len(self.shape) == 2 and not 1 <= self.shape[1] <= 65_536:
            return f"{self.name} must have 1 to 65,536 dimensions, got {self.shape[1]:,}; split or reshape it"
        return None

    @abstractmethod
    def blocks(self, step: int) -> Iterator[NDArray[Any]]:
        """Yield `step` rows at a time (fewer in the last) in the stored dtype; 1-D arrays are split by values."""


class NpyVectors(Vectors):
    """The array of a .npy file, mapped into memory: nothing is copied."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            super().__init__(path, str(path), _header(file, str(path)))
            self._offset = file.tell()
        found = path.stat().st_size - self._offset
        if found < self.nbytes:
            raise Failure(
                f"{path} is cut short: {self.nbytes:,} bytes of values expected, {found:,} found; copy or save it again"
            )

    def blocks(self, step: int) -> Iterator[NDArray[Any]]:
        order: Literal["C", "F"] = "F" if self.fortran else "C"
        with self.path.open("rb") as file:
            for first in range(0, self.shape[0], step):
                if self.nbytes == 0:
                    yield np.empty((min(step, self.shape[0] - first), *self.shape[1:]), self.dtype)
                    continue
                # A map for each block: pages that were read leave the process when their map goes.
                yield np.memmap(file, self.dtype, "r", self._offset, self.shape, order)[first : first + step]


class NpzVectors(Vectors):
    """A member of a .npz file, read (and decompressed) as a stream.

    Column-major members are the exception: all their columns are needed for one row, so they are read whole.
    """

    def __init__(self, path: Path, member: str) -> None:
        self._member = member
        self.key = member.removesuffix(".npy")
        name = f"{path}[{self.key}]"
        with _archive(path, name) as archive, archive.open(member) as file:
            super().__init__(path, name, _header(file, name))

    def blocks(self, step: int) -> Iterator[NDArray[Any]]:
        with _archive(self.path, self.name) as archive, archive.open(self._member) as file:
            _header(file, self.name)
            if self.fortran:
                columns = self._read(file, (self.shape[1], self.shape[0]))
            for first in range(0, self.shape[0], step):
                if self.fortran:
                    yield columns.T[first : first + step]
                else:
                    yield self._read(file, (min(step, self.shape[0] - first), *self.shape[1:]))
            # The end of the member is where zipfile compares its checksum.
            if file.read(1):
                raise Failure(f"{self.name} has more values than its shape {self.shape} says; save it again")

    def _read(self, file: IO[bytes], shape: tuple[int, ...]) -> NDArray[Any]:
        block = np.empty(shape, self.dtype)
        view = block.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(view):
            # Small reads, because zipfile builds bytes of them first.
            data = file.read(min(1 << 20, len(view) - done))
            if not data:
                raise Failure(
                    f"{self.name} is cut short, {len(view) - done:,} bytes are missing; copy or save it again"
                )
            view[done : done + len(data)] = data
            done += len(data)
        return block


def kind_of(path: Path) -> Kind:
    """Tell a file's kind by its first bytes, whatever it is called."""
    if path.is_dir():
        raise Failure(f"{path} is a folder; name a file in it")
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except FileNotFoundError:
        raise Failure(f"{path} does not exist; check its name and the current folder, {Path.cwd()}") from None
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    raise Failure(
        f"{path} is {'empty' if not start else 'no .npy, .npz, code or index file'}; "
        "save the array with numpy.save, or name another file"
    )


def open_arrays(path: Path) -> list[Vectors]:
    """Return all arrays of a .npy or .npz file, whatever they hold."""
    if kind_of(path) == "npy":
        return [NpyVectors(path)]
    with _archive(path, str(path)) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    if not members:
        raise Failure(f"{path} is a zip file without arrays (.npy members); save them with numpy.savez")
    return [NpzVectors(path, member) for member in members]


def open_array(path: Path, key: str | None = None) -> Vectors:
    """Return the array of a .npy file, or the one of a .npz file that `key` names (needed where it has several)."""
    kind = kind_of(path)
    if kind in ("codes", "paper codes"):
        raise Failure(f"{path} holds codes, not vectors; give the .npy or .npz file of the vectors")
    if kind == "npy" and key is not None:
        raise Failure(f"{path} is a .npy file and has no keys; leave --key out", 2)
    arrays = open_arrays(path)
    if isinstance(arrays[0], NpyVectors):
        return arrays[0]
    keys = {array.key: array for array in arrays if isinstance(array, NpzVectors)}
    if key is None:
        if len(keys) > 1:
            raise Failure(f"{path} has several arrays; choose one with --key: {', '.join(keys)}", 2)
        return arrays[0]
    if key not in keys:
        raise Failure(f"{path} has no array '{key}'; choose one with --key: {', '.join(keys)}", 2)
    return keys[key]


def require(array: Vectors, ranks: tuple[int, ...] = (2,)) -> None:
    """Fail if the array holds no vectors."""
    fault = array.fault(ranks)
    if fault is not None:
        raise Failure(fault)


def read_queries(path: Path, key: str | None) -> NDArray[Any]:
    """Return queries, (nq, dim), in their stored dtype; a 1-D array is one query."""
    array = open_array(path, key)
    require(array, (1, 2))
    blocks = list(array.blocks(max(1, array.shape[0])))
    whole = blocks[0] if blocks else np.empty(array.shape, array.dtype)
    return whole[None, :] if len(array.shape) == 1 else whole


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of .npy bytes: shape, column-major or not, dtype."""
    try:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise Failure(f"{name} is a .npy file of version {version}, for records; save one plain array of numbers")
        return _HEADERS[version](file)
    except (ValueError, EOFError) as error:
        raise Failure(f"{name} is no whole .npy file ({error}); copy or save it again") from None


@contextlib.contextmanager
def _archive(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; what is wrong with it becomes a Failure."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    # RuntimeError: encrypted, or (NotImplementedError) a compression that this Python lacks.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise Failure(f"{name} cannot be read ({error}); copy or save it again") from None

"""Writing code files in a stream: packed rows go out block by block, scales and checksums follow at the end."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ._rates import Bits
    from .codec import TurboQuant
    from .codes import Codes


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a temporary file beside ``path`` that takes its place at the end; an error removes it instead."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{target} is a folder; name a file in it")
    # What the system says would name the temporary file, which nobody has asked for.
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except (FileNotFoundError, NotADirectoryError) as error:
        text = f"the folder {target.parent} does not exist; create it first"
        raise type(error)(error.errno, text) from None
    except PermissionError as error:
        text = f"the folder {target.parent} cannot be written; choose another, or change its permissions"
        raise PermissionError(error.errno, text) from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read; a written file gets the usual mode.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(
    path: str | os.PathLike[str], codec: TurboQuant, rows: int, bits: Bits | None = None
) -> Iterator[CodesWriter]:
    """Yield a writer of ``rows`` codes of one codec; nothing appears at ``path`` before all are written."""
    with replacing(path) as file:
        writer = CodesWriter(file, codec, rows, codec.bits if bits is None else bits)
        yield writer
        writer.finish()


class CodesWriter:
    """Write codes to an open file in blocks. Memory: the scales (4 bytes a row) beside the block in hand."""

    def __init__(self, file: IO[bytes], codec: TurboQuant, rows: int, bits: Bits) -> None:
        self._file = file
        self._codec = codec
        self._bits = bits
        self._keep = codec._keep(bits)
        self._rows = rows
        self._written = 0
        self._crc = 0
        self._scales: NDArray[np.float32] = np.empty((rows, codec._core.norms), np.float32)
        # Checksums are known at the end; the header is written over this place then.
        file.write(codec._core.header(self._keep, rows, 0, 0))

    def write(self, codes: Codes) -> None:
        """Append codes of this codec."""
        if codes.codec != self._codec or codes.bits != self._bits or self._written + len(codes) > self._rows:
            raise ValueError(
                f"codes must be of the file's codec and at most {self._rows - self._written} rows, got {codes!r}"
            )
        packed, scales = codes._contiguous()
        self._crc = zlib.crc32(packed.data, self._crc)
        self._file.write(packed.data)
        self._scales[self._written : self._written + len(codes)] = scales
        self._written += len(codes)

    def finish(self) -> None:
        """Write scales and header."""
        if self._written != self._rows:
            raise ValueError(f"{self._rows} rows were announced, {self._written} written")
        self._file.write(b"\0" * (-self._file.tell() % 64))
        scales = self._scales.astype("<f4", copy=False)
        self._file.write(scales.data)
        self._file.seek(0)
        self._file.write(self._codec._core.header(self._keep, self._rows, self._crc, zlib.crc32(scales.data)))

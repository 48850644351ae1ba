"""Writing code files in a stream: packed rows go out block by block, scales and checksums follow at the end."""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .codec import TurboQuant
    from .codes import Codes


class CodesWriter:
    """Write ``rows`` codes of one codec to ``path`` in blocks; nothing appears there before all are written.

    A context manager. Memory: the scales (4 bytes a row) beside the block in hand. The file is a temporary one beside
    ``path`` until leaving the ``with`` block renames it; leaving by an exception removes it.
    """

    def __init__(self, path: str | os.PathLike[str], codec: TurboQuant, rows: int, bits: int | None = None) -> None:
        self.path = Path(path)
        self._codec = codec
        self._keep = [codec.bits if bits is None else bits]
        self._rows = rows
        self._written = 0
        self._crc = 0
        self._scales: NDArray[np.float32] = np.empty((rows, codec._core.norms), np.float32)

    def write(self, codes: Codes) -> None:
        """Append codes of this codec."""
        if codes.codec != self._codec or [codes.bits] != self._keep or self._written + len(codes) > self._rows:
            raise ValueError(
                f"codes must be of the file's codec and at most {self._rows - self._written} rows, got {codes!r}"
            )
        packed, scales = codes._contiguous()
        self._crc = zlib.crc32(packed.data, self._crc)
        self._file.write(packed.data)
        self._scales[self._written : self._written + len(codes)] = scales
        self._written += len(codes)

    def __enter__(self) -> CodesWriter:
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".part", dir=self.path.parent)
        self._part, self._file = Path(name), os.fdopen(handle, "wb")
        try:
            # Checksums are known at the end; the header is written over this place then.
            self._file.write(self._codec._core.header(self._keep, self._rows, 0, 0))
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _discard(self) -> None:
        try:
            self._file.close()
        finally:
            self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Write scales and header, and put the file in its place."""
        if self._written != self._rows:
            raise ValueError(f"{self._rows} rows were announced, {self._written} written")
        self._file.write(b"\0" * (-self._file.tell() % 64))
        scales = self._scales.astype("<f4", copy=False)
        self._file.write(scales.data)
        self._file.seek(0)
        self._file.write(self._codec._core.header(self._keep, self._rows, self._crc, zlib.crc32(scales.data)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        # mkstemp makes files that only their owner may read; a written file gets the usual mode.
        mask = os.umask(0)
        os.umask(mask)
        self._part.chmod(0o666 & ~mask)
        self._part.replace(self.path)

"""An index's files and bytes: docs/format.md, version 1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ._arrays import as_bytes
from ._core import FlatIndex

if TYPE_CHECKING:
    from .index import Index


StrPath: TypeAlias = "str | os.PathLike[str]"


class Stored:
    """What an index does with files."""

    __slots__ = ()

    _core: FlatIndex

    @classmethod
    def _from_core(cls, core: FlatIndex) -> Index:
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file of its own: docs/format.md, version 1. From then on :meth:`commit` appends to it.

        Removed vectors whose place is not yet taken back stay in the file, marked as such; :meth:`compact` first leaves
        them out. String ids and the vectors of ``keep=`` are in the file, too.

        The file takes the place of what is at ``path`` as a whole, when it is on the device: a crash leaves the old one
        or the new one. Who has mapped the old one keeps it.

        Raises
        ------
        OSError
            If the file cannot be written. BlockingIOError if another index writes to the one at ``path``. What is there
            is then unchanged.
        CorruptError
            If this index is mapped and its file is damaged.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> x = np.random.default_rng(0).standard_normal((1000, 64))
        >>> path = Path(tempfile.mkdtemp()) / "vectors.tqi"
        >>> index = Index(64, bits=4)
        >>> ids = index.add(x[:999])
        >>> index.save(path)
        >>> ids = index.add(x[999:])
        >>> index.commit()
        >>> Index.open(path)
        Index(dim=64, bits=4, metric='ip', n=1000, 48.0 bytes per vector)
        """
        self._core.save(os.fspath(path))

    def commit(self) -> None:
        """Append what came and went since :meth:`save`, :meth:`open` or the last commit; it is on the device on return.

        A removed vector takes 8 bytes. Once the place of removed ones was taken back, which also happens by itself (see
        :meth:`compact`), the next commit writes the file anew, as :meth:`save` does.

        A crash leaves the vectors before or after. Others who have the file open keep what they see; opening it again
        shows the new vectors. The first commit makes this index the file's only writer, until it is gone or saved to
        another path.

        Raises
        ------
        OSError
            If there is no file yet (FileNotFoundError) or it cannot be written, if another index is its writer
            (BlockingIOError), or if the file is not the one that this index read or wrote last.
        """
        self._core.commit()

    @classmethod
    def open(cls, path: StrPath | Sequence[StrPath], mmap: bool = True, *, device: str = "cpu") -> Index:
        """Return the index in a file that :meth:`save` and :meth:`commit` wrote, or several files as one index.

        Parameters
        ----------
        path : path-like, or list or tuple of them
            The file. Several must be of one codec, metric and ``keep``, with distinct ids of one kind; searches answer
            as if their vectors had been added one file after the other. Ids are copied into memory, all else stays in
            mapped files. Such an index belongs to no file: :meth:`save` merges them.
        mmap : bool, default True
            Map the file: it is searched where it is, opening takes milliseconds, and processes share its memory. Each
            block of 64 KiB is compared with its checksum before it is first used; :meth:`verify` looks at all of them
            at once. With False, everything is read and compared now. Either way, commits of less than 1 MiB are copied
            into memory, and so are the ids of a file of several commits; :meth:`save` puts them together again.
        device : str, default "cpu"
            Where to search it, as for :meth:`Index.to`.

        Returns
        -------
        Index
            With the file's codec, metric and ``keep``. Vectors that are added are kept in memory until :meth:`commit`.

        Raises
        ------
        OSError
            If the file cannot be read.
        CorruptError
            If it is no index file, of a newer format, or damaged, with section and offset. Of a mapped file, a search
            raises that before it uses damaged bytes.
        ValueError
            For files that do not fit together, and an id that two have.
        ValueError, ImportError, RuntimeError, MemoryError
            As for :meth:`Index.to`.

        Notes
        -----
        A mapped file may be replaced (:meth:`save`) and appended to (:meth:`commit`), but must not be cut short by
        others: the operating system then ends the process (SIGBUS).
        """
        paths: Sequence[StrPath] = path if isinstance(path, (list, tuple)) else [path]  # type: ignore[list-item]
        return cls._from_core(FlatIndex.open([os.fsdecode(one) for one in paths], bool(mmap))).to(device)

    def refresh(self) -> bool:
        """Take what others have committed to the file since this index was opened; return whether there was anything.

        It takes milliseconds: new commits are read, the rest stays as it is. A file that was saved anew is opened anew,
        and filters made before are then refused. Searches wait for it, and see all of it or nothing.

        Raises
        ------
        OSError
            If there is no single file, if vectors were added or removed here and not committed, if the file cannot be
            read, or if it holds an index of another codec, metric or ``keep`` now. The index is then unchanged.
        CorruptError
            As for :meth:`open`.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> path = Path(tempfile.mkdtemp()) / "vectors.tqi"
        >>> writer = Index(8)
        >>> writer.save(path)
        >>> reader = Index.open(path)
        >>> ids = writer.add(np.eye(8))
        >>> writer.commit()
        >>> len(reader), reader.refresh(), len(reader), reader.refresh()
        (0, True, 8, False)
        """
        return self._core.refresh()

    def verify(self) -> None:
        """Compare all that is mapped with its checksums; what is in memory has been compared when it was read.

        Raises
        ------
        CorruptError
            For the first damaged block, with section and offset.
        """
        self._core.verify()

    def to_bytes(self) -> bytes:
        """Return the bytes that :meth:`save` writes."""
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Index:
        """Return the index in :meth:`to_bytes`'s bytes, or those of a file, all of which are checked.

        Raises
        ------
        CorruptError
            As for :meth:`open`.
        """
        return cls._from_core(FlatIndex.from_bytes(as_bytes(data)))

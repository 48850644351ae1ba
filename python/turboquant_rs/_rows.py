"""The rows of an index: which are there, what is known of them, and how they leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._ids import as_row_ids, is_single

if TYPE_CHECKING:
    from .codec import Metric, TurboQuant
    from .gpu.index import DeviceIndex
    from .index import Index


class Rows:
    """What an index knows of its rows by their ids."""

    __slots__ = ()

    _core: _core.FlatIndex
    codec: TurboQuant
    metric: Metric
    keep: str | None
    _placed: DeviceIndex | None

    @property
    def ids(self) -> NDArray[Any]:
        """Ids in the order of adding, a copy: (n,) int64, or objects (str) in an index of string ids."""
        names = self._core.names()
        return self._core.ids() if names is None else np.array(names, object)

    @property
    def plain_rows(self) -> int:
        """Vectors that are kept as plain codes, since the fitted codec codes them badly."""
        return self._core.plain_rows

    @property
    def nbytes(self) -> int:
        """Bytes held: codes, scales, squared norms (l2), ids, originals and the codec; removed rows count until their
        place is taken back. The map from ids to rows is left out (:meth:`info` has it).
        """
        return sum(self._core.sizes[:3])

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, row_id: object) -> bool:
        if isinstance(row_id, str):
            return self._core.contains_name(row_id)
        if not isinstance(row_id, (int, np.integer)) or isinstance(row_id, bool):
            return False
        return 0 <= int(row_id) < 1 << 63 and self._core.contains(int(row_id))

    def __iter__(self) -> Iterator[int | str]:
        """Iterate over the ids in the order of adding, as they are now."""
        return iter(self.ids.tolist())

    def info(self) -> dict[str, Any]:
        """Return what the index holds, as a dictionary.

        Returns
        -------
        dict
            ``n`` (rows that can be found), ``removed`` (rows whose place is not yet taken back), ``dim``, ``bits``,
            ``metric``, ``keep``, ``string_ids`` (bool), ``plain_rows``, ``device``, and ``bytes``, a dictionary with
            the parts ``codes`` (scales, bounds, squared norms and the codec among them), ``ids``, ``originals``,
            ``id_map`` (made when it is first needed; none while ids ascend), ``device`` (on a GPU, beside those) and
            ``pinned`` (copies on the host of what is not on the GPU).

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> index = Index(64, keep="int8")
        >>> ids = index.add(np.ones((3, 64)))
        >>> index.info()["n"], index.info()["bytes"]["originals"]
        (3, 204)
        """
        codes, ids, originals, id_map = self._core.sizes
        return {
            "n": len(self),
            "removed": self._core.removed,
            "dim": self.codec.dim,
            "bits": self.codec.bits,
            "metric": self.metric,
            "keep": self.keep,
            "string_ids": self._core.names_of(np.empty(0, np.int64)) is not None,
            "plain_rows": self.plain_rows,
            "device": "cpu" if self._placed is None else self._placed.device,
            "bytes": {
                "codes": codes,
                "ids": ids,
                "originals": originals,
                "id_map": id_map,
                "device": 0 if self._placed is None else self._placed.nbytes,
                "pinned": 0 if self._placed is None else self._placed.pinned_nbytes,
            },
        }

    def remove(self, ids: ArrayLike | int | str | Sequence[str]) -> None:
        """Remove vectors: no search finds them any more. Removed ids are free, but not assigned again.

        Their rows are marked, one bit each. Once more than a quarter of the rows that are stored are removed ones,
        their place is taken back (see :meth:`compact`), so a call that passes that mark takes longer; rows of a mapped
        file wait for :meth:`compact`. Filters made before their place is taken back are then refused.

        Parameters
        ----------
        ids : int, str or array_like of them, shape (n,)
            Ids of vectors in the index, in any order; one may stand twice.

        Raises
        ------
        KeyError
            For an id that is not in the index; nothing is then removed.
        ValueError, TypeError
            For what is no id.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> index = Index(8)
        >>> ids = index.add(np.eye(8))
        >>> index.remove([2, 5])
        >>> len(index), 2 in index, index.add(np.eye(8)[2:3]).tolist()
        (6, False, [8])
        """
        self._core.remove(as_row_ids([ids] if is_single(ids) else ids))

    def compact(self) -> None:
        """Take the place of removed vectors back, in place; no result changes.

        It also happens by itself, once more than a quarter of the rows that are stored are removed ones (but not to
        rows of a mapped file, which this copies into memory where some of them are removed). Searches wait for it: a
        second for some millions of rows. Filters made before it are refused, and the next :meth:`commit` writes the
        file anew.
        """
        self._core.compact()

    def reconstruct(self, ids: ArrayLike | int | str | Sequence[str]) -> NDArray[np.float32]:
        """Return the decoded vectors of the given ids, (n, dim) float32, or (dim,) for one id; of x/|x| with "cosine".

        Raises
        ------
        KeyError
            For an id that is not in the index.
        """
        single = is_single(ids)
        rows = self._core.reconstruct(as_row_ids([ids] if single else ids))
        return rows[0] if single else rows

    def extend(self, other: Index) -> None:
        """Append the vectors of another index, under their ids, as they are coded: nothing is encoded again.

        Parameters
        ----------
        other : Index
            Of the same codec, metric and ``keep``. It is not changed.

        Raises
        ------
        ValueError
            For an index of another kind, and for an id that both have. This index is then unchanged.
        TypeError
            For what is no index.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> a, b = Index(8), Index(8)
        >>> ids = a.add(np.eye(8)), b.add(np.eye(8), range(8, 16))
        >>> a.extend(b)
        >>> len(a), len(b)
        (16, 8)
        """
        if not isinstance(other, Rows):
            raise TypeError(f"other must be an Index, got {type(other).__name__}")
        if other is self:
            raise ValueError("other must be another index, got this one")
        if other.codec.fingerprint != self.codec.fingerprint:
            own, its = (f"{index.codec!r} with fingerprint {index.codec.fingerprint:016x}" for index in (self, other))
            raise ValueError(f"other must be an index of the same codec, {own}; got one of {its}")
        self._core.extend(other._core)

    @classmethod
    def merge(cls, indexes: Sequence[Index]) -> Index:
        """Return a new index with the vectors of several of one codec, metric and ``keep``; none of them is changed.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`extend`, and for no index at all.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> a, b = Index(8), Index(8)
        >>> ids = a.add(np.eye(8)), b.add(np.eye(8), range(8, 16))
        >>> len(Index.merge([a, b]))
        16
        """
        indexes = list(indexes)
        if not indexes:
            raise ValueError("indexes must be at least one index, got none")
        wrong = next((index for index in indexes if not isinstance(index, Rows)), None)
        if wrong is not None:
            raise TypeError(f"indexes must be Index objects, got {type(wrong).__name__}")
        first = indexes[0]
        merged: Index = cls(codec=first.codec, metric=first.metric, keep=first.keep)  # type: ignore[call-arg, assignment]
        for index in indexes:
            merged.extend(index)
        return merged

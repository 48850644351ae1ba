"""Rows of a codec with a dense rotation in a search on a device: plain codes, whose queries a matrix rotates."""

from __future__ import annotations

from typing import Any

from ..reference.codebook import one_byte
from .backend import Backend
from .constants import score_levels
from .dense_codec import DenseKey
from .faults import fault_buffer
from .score import Prepared
from .search_plain import PlainRows
from .sketch import prepare, project, room_for


class DenseRows(PlainRows):
    """How rows of a codec with a dense rotation are scanned."""

    def __init__(self, key: DenseKey) -> None:
        super().__init__(key.codec)
        self.key = key

    def _prepared(self, backend: Backend, queries: Any, metric: str) -> Prepared:
        projection, codec, faults = self.key.projection, self.codec, fault_buffer(backend)
        cosine = metric == "cosine"
        room = room_for(backend, projection, len(queries))
        project(backend, projection, queries, room, faults, 0, "query", cosine=cosine)
        worth, wide = score_levels(codec, codec.bits)[1], not one_byte(codec.bits)
        columns = 8 * self.stage_bytes
        return prepare(backend, projection, room, faults, worth, wide=wide, cosine=cosine, columns=columns)

    def query_bytes(self) -> int:
        """Return the bytes that a query takes."""
        return super().query_bytes() + self.key.projection.bytes_a_row

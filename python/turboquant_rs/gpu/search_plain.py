"""Rows of a plain codec in a search on a device: the score kernels' products, and the sign plane as a first stage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.codebook import one_byte
from ..reference.staged import bound_unit_of, sign_rounding
from ..reference.units import row_bytes
from .backend import Backend
from .constants import CodecKey, score_levels
from .plan import WARPS, Part, grid, query_bytes, score_kernel
from .score import Prepared, launch_products, levels_of, prepare
from .search import NO_STAGE, NO_WORTH, Candidates, RowPart, Stage, blocks_a_query, stage_of


class PlainRows:
    """How rows of a plain codec are scanned."""

    scales = 1

    def __init__(self, codec: CodecKey) -> None:
        self.codec = codec
        self.row_bytes = row_bytes(codec.dim, codec.bits, codec.bits)
        #: Bytes of a code's first stage, its sign plane; codes of one bit have none.
        self.stage_bytes = -(-codec.dim // 8) if codec.bits > 1 else 0
        self.refines = self.stage_bytes > 0

    def laid_out(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return packed rows as they are scanned: as the encoder writes them."""
        return packed

    def prepare(self, backend: Backend, queries: Any, metric: str, deviations: float) -> tuple[Prepared, Stage]:
        """Prepare queries (nq, dim) float32, nq ≥ 1, for scores and for the first stage."""
        codec, size, l2 = self.codec, self.stage_bytes, metric == "l2"
        prepared = self._prepared(backend, queries, metric)
        if not size and not l2:
            return prepared, NO_STAGE
        unit = score_levels(codec, codec.bits)[1] / np.float32(bound_unit_of(codec.bits))
        worth = (unit, sign_rounding(codec.bits, codec.dim), deviations) if size else NO_WORTH
        return prepared, stage_of(backend, prepared, prepared.norms, worth, 2 * size, metric)

    def _prepared(self, backend: Backend, queries: Any, metric: str) -> Prepared:
        columns, staged = 8 * self.stage_bytes, self.stage_bytes > 0 or metric == "l2"
        cosine = metric == "cosine"
        return prepare(backend, self.codec, self.codec.bits, queries, cosine=cosine, staged=staged, columns=columns)

    def rank(
        self,
        backend: Backend,
        prepared: Prepared,
        packed: Any,
        scales: Any,
        ranking: tuple[Any, ...],
        counts: tuple[Any, ...],
    ) -> None:
        """Make rows whose score may be among the best candidates."""
        codec = self.codec
        codes, levels = Part(codec.dim, codec.bits, codec.bits, packed.shape[1]), levels_of(backend, codec, codec.bits)
        launch_products(backend, codes, levels, prepared, packed, scales, "rank", (*ranking, *counts))

    def refine(
        self, backend: Backend, prepared: Prepared, part: RowPart, stage: Stage, ranking: Candidates, queries: int
    ) -> None:
        """Cut candidates whose keys are upper ends to their scores."""
        codec = self.codec
        codes, levels = Part(codec.dim, codec.bits, codec.bits, self.row_bytes), levels_of(backend, codec, codec.bits)
        spread = blocks_a_query(backend, len(part), queries)
        args = (
            *(part.packed, part.scales, levels, prepared.high, prepared.low, prepared.worth),
            *(stage.squares, part.squares, part.ties, ranking.floors, ranking.candidates, ranking.counts),
            *(np.int64(part.first), np.int64(ranking.pitch), np.int64(spread), np.int64(queries)),
        )
        kernel = score_kernel("refine_dp4a", codes, words=codes.whole_words(part.packed))
        blocks = grid(backend, queries * spread)
        backend.launch(kernel, blocks, 32 * WARPS, args, 2 << codec.bits if codes.wide else 0)

    def query_bytes(self) -> int:
        """Return the bytes that a query takes."""
        codec = self.codec
        return query_bytes(codec.dim) * (1 if one_byte(codec.bits) else 2) + 64 * self.stage_bytes + 24

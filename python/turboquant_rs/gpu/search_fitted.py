"""Rows of a fitted codec in a search on a device: scores group after group, and the first units as a first stage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.linear_stage import BOUND
from .backend import Backend
from .constants import uploaded
from .encode_fitted import bytes_a_row
from .fitted import FittedKey
from .score_fitted import Prepared, launch_products, prepare, refine_products
from .search import NO_STAGE, NO_WORTH, Candidates, RowPart, Stage, blocks_a_query, stage_of


class FittedRows:
    """How rows of a fitted codec are scanned."""

    scales = 1

    def __init__(self, codec: FittedKey) -> None:
        self.codec = codec
        self.row_bytes = codec.row_bytes(codec.full)
        #: Bytes of a code's first stage; codes of one unit have none.
        self.stage_bytes = 0 if codec.stage is None else codec.stage.size
        self.refines = self.stage_bytes > 0

    def laid_out(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return packed rows as they are scanned: as the encoder writes them."""
        return packed

    def prepare(self, backend: Backend, queries: Any, metric: str, deviations: float) -> tuple[Prepared, Stage]:
        """Prepare queries (nq, dim) float32, nq ≥ 1, for scores and for the first stage."""
        codec, stage = self.codec, self.codec.stage
        prepared = prepare(backend, codec, codec.full, queries, cosine=metric == "cosine", stage=stage)
        if stage is None:
            if metric != "l2":
                return prepared, NO_STAGE
            return prepared, stage_of(backend, prepared, prepared.norms, NO_WORTH, 0, metric)
        residuals = uploaded(backend, "fitted residuals", codec.key, lambda: stage.residuals)
        return prepared, stage_of(
            backend,
            prepared,
            prepared.largests,
            (np.float32(1 / BOUND), stage.rounding, deviations),
            2 * stage.size,
            metric,
            lengths=(prepared.lengths, residuals),
            base=prepared.base,
        )

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
        rest = (*ranking, np.int32(packed.shape[1]), *counts)
        launch_products(backend, self.codec, self.codec.full, prepared, packed, scales, "rank_fitted", rest)

    def refine(
        self, backend: Backend, prepared: Prepared, part: RowPart, stage: Stage, ranking: Candidates, queries: int
    ) -> None:
        """Cut candidates whose keys are upper ends to their scores."""
        spread = blocks_a_query(backend, len(part), queries)
        rest = (
            *(stage.squares, part.squares, part.ties, ranking.floors, ranking.candidates, ranking.counts),
            *(np.int32(self.row_bytes), np.int64(part.first)),
            *(np.int64(ranking.pitch), np.int64(spread), np.int64(queries)),
        )
        operands = (prepared, part.packed, part.scales, queries * spread, rest)
        refine_products(backend, self.codec, self.codec.full, *operands)

    def query_bytes(self) -> int:
        """Return the bytes that a query takes."""
        codec, tables = self.codec, self.codec.scoring(self.codec.full)
        integers = (2 if tables.wide else 1) * tables.query_bytes + 4 * len(tables.groups)
        return bytes_a_row(codec) + integers + 64 * self.stage_bytes + 4 * len(codec.segments) + 32

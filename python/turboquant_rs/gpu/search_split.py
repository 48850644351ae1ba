"""Rows of a codec with outlier channels in a search on a device: planes of one bit, two groups with a scale each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import Backend
from .faults import fault_buffer, reported
from .score_fitted import Prepared, launch_products
from .search import NO_STAGE, NO_WORTH, RowPart, Stage, stage_of
from .split import SplitKey


class SplitRows:
    """How rows of a codec with outliers are scanned."""

    stage_bytes = 0
    refines = False
    scales = 2

    def __init__(self, codec: SplitKey) -> None:
        self.codec = codec
        self.row_bytes = codec.row_bytes

    def laid_out(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return packed rows as they are scanned."""
        return self.codec.planes(packed)

    def prepare(self, backend: Backend, queries: Any, metric: str, deviations: float) -> tuple[Prepared, Stage]:
        """Prepare queries (nq, dim) float32, nq ≥ 1, for scores: on the host, since they are few."""
        host = np.ascontiguousarray(backend.to_host(queries))
        try:
            values, factors, norms, exponents = self.codec.queries(host, metric == "cosine")
            faults = fault_buffer(backend)
        except ValueError:
            # The caller asks the CPU for its words; zeros find what they may.
            values, factors, norms, exponents = self.codec.queries(np.zeros_like(host), False)
            faults = reported(backend)
        high, low = self.codec.placed(values)
        prepared = Prepared(
            backend.asarray(high),
            None if low is None else backend.asarray(low),
            backend.asarray(factors),
            None,
            faults,
            None,
            backend.asarray(norms),
            backend.asarray(exponents),
        )
        if metric != "l2":
            return prepared, NO_STAGE
        return prepared, stage_of(backend, prepared, prepared.norms, NO_WORTH, 0, metric)

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
        launch_products(backend, self.codec, self.codec.bits, prepared, packed, scales, "rank_fitted", rest)

    def refine(
        self, backend: Backend, prepared: Prepared, part: RowPart, stage: Stage, ranking: Any, queries: int
    ) -> None:
        """Never asked for: there is no first stage."""
        raise NotImplementedError

    def query_bytes(self) -> int:
        """Return the bytes that a query takes."""
        tables = self.codec.scoring(self.codec.bits)
        return (2 if tables.wide else 1) * tables.query_bytes + 4 * len(tables.groups) + 24

"""How rows are laid over a device: which kernel, how many threads and blocks, how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..reference.codebook import one_byte
from .backend import Backend
from .constants import RotationTables
from .gate import address
from .kernels import Kernel

#: Up to this dim a warp holds a row in registers, 64 floats a lane; beyond, a block holds it in memory.
WARP_DIMS = 2_048
#: Warps of a block where a warp has a row of its own.
WARPS = 4
#: Stages that a thread of a block does in registers between two barriers: 2^4 floats a thread.
RADIX = 16
#: Floats of shared memory through which sums pass (TQ_SUM_FLOATS of block.cuh).
SUM_FLOATS = 96
#: Blocks a multiprocessor, for rows in registers, in shared memory and in scratch: enough to hide the loads.
WAVES, BLOCK_WAVES, SCRATCH_WAVES = 16, 8, 2

Work = Literal["encode", "decode", "query", "rotate", "unrotate"]


@dataclass(frozen=True)
class RowPlan:
    """A kernel that works on rows, and its launch."""

    kernel: Kernel
    threads: int
    shared: int
    #: Rows that a block has in hand at a time.
    rows: int
    waves: int
    #: Floats of global scratch a block; 0: none.
    scratch: int

    def blocks(self, backend: Backend, rows: int) -> int:
        """Return how many blocks to launch; each takes every so-many-th row."""
        return grid(backend, -(-rows // self.rows), self.waves)

    def launch(self, backend: Backend, rows: int, args: tuple[Any, ...]) -> None:
        """Launch on ``rows`` rows; the scratch argument, where the kernel takes one, is added."""
        blocks = self.blocks(backend, rows)
        if self.kernel.name.endswith("_block"):
            args = (*args, backend.empty((blocks * self.scratch,), np.float32) if self.scratch else None)
        backend.launch(self.kernel, blocks, self.threads, args, self.shared)


def grid(backend: Backend, wanted: int, waves: int | None = None) -> int:
    """Return how many blocks to launch where ``wanted`` have work; ``waves`` of them a multiprocessor at most."""
    return max(1, min(wanted, backend.processors * (WAVES if waves is None else waves)))


def row_plan(
    backend: Backend,
    work: Work,
    dim: int,
    rounds: int,
    tables: int,
    parameters: Mapping[str, int],
    *,
    exact: bool = False,
) -> RowPlan:
    """Plan a kernel with ``tables`` bytes of shared memory for itself and its own ``parameters``.

    ``exact``: subnormal numbers count on the way, so that every round has its factor.
    """
    tables = -(-tables // 16) * 16
    log = dim.bit_length() - 1
    power = 1 << log
    common = {"TQ_DIM": dim, "TQ_POWER": power, "TQ_ROUNDS": rounds, "TQ_TABLE_BYTES": tables, **parameters}
    common["TQ_EXACT"] = int(exact)
    if dim <= WARP_DIMS:
        slots = -(-dim // 32)
        # A row passes through shared memory to be transposed, or between overlapping transforms.
        warp_bytes = 0 if power == dim < 128 else 4 * -(-dim // 4) * 4
        common |= {
            "TQ_SLOTS": slots,
            "TQ_PLANE_WORDS": -(-slots // 32),
            "TQ_WARPS": WARPS,
            "TQ_RESIDENT": _resident(slots, parameters.get("TQ_BITS", 0) if work == "encode" else 0),
            "TQ_WARP_BYTES": warp_bytes,
            "TQ_DEFERRED": int(deferred(dim) and not exact),
        }
        shared = tables + WARPS * warp_bytes
        return RowPlan(_kernel(f"{work}_warp", common), 32 * WARPS, shared, WARPS, WAVES, 0)
    threads = min(max(power // RADIX, 128), 512)
    row_floats = -(-dim // 32) * 32
    floats = 2 * row_floats + row_floats // 4
    shared = tables + 4 * (SUM_FLOATS + floats)
    in_scratch = shared > backend.shared_limit
    common |= {"TQ_LOG": log, "TQ_THREADS": threads, "TQ_IN_SCRATCH": int(in_scratch)}
    kernel = _kernel(f"{work}_block", common)
    if in_scratch:
        return RowPlan(kernel, threads, tables + 4 * SUM_FLOATS, 1, SCRATCH_WAVES, floats)
    return RowPlan(kernel, threads, shared, 1, BLOCK_WAVES, 0)


def _resident(slots: int, bits: int) -> int:
    """Return blocks that a multiprocessor should hold at a time: as many as registers allow without spilling.

    With 128 threads, 5 leave a thread 96 registers, 4 128, 3 168, 2 255.
    """
    if slots <= 24:
        return 5
    if slots <= 32:
        return 4 if bits <= 4 else 3
    return 2


def deferred(dim: int) -> bool:
    """Return whether all rounds' factors are one exact multiplication: where p^−½ is a power of two and p = dim."""
    return dim <= WARP_DIMS and dim & (dim - 1) == 0 and dim.bit_length() % 2 == 1


def launch_factor(dim: int, rotation: RotationTables) -> np.float32:
    """Return what kernels multiply with: one round's factor, or all rounds' where they are deferred."""
    return rotation.factor**rotation.rounds if deferred(dim) else rotation.factor


def whole_words(dim: int, packed: Any) -> bool:
    """Return whether units of packed rows consist of aligned 4-byte words, which kernels then read and write."""
    return dim % 32 == 0 and address(packed) % 4 == 0


def _kernel(name: str, parameters: Mapping[str, int]) -> Kernel:
    return Kernel(name, tuple(sorted(parameters.items())))


@dataclass(frozen=True)
class Part:
    """The part of packed rows that is scored, and how: the top ``keep`` of ``bits`` bits of ``dim`` codes."""

    dim: int
    bits: int
    keep: int
    #: Bytes of a packed row, and the first one of the part.
    row_bytes: int
    start: int = 0
    #: Scales a row, and the one of the part.
    norms: int = 1
    norm: int = 0
    #: Whether the codes are signs of a sketch: one bit, and queries of two bytes.
    sketch: bool = False
    #: Whether scores are added to those that are there.
    added: bool = False

    @property
    def wide(self) -> bool:
        """Whether levels have two bytes."""
        return not one_byte(self.keep)

    def whole_words(self, packed: Any) -> bool:
        """Return whether the units of the part consist of aligned 4-byte words."""
        return whole_words(self.dim, packed) and self.row_bytes % 4 == self.start % 4 == 0


def score_kernel(name: str, part: Part, *, words: bool) -> Kernel:
    """Return a kernel that scores a part of packed rows, or ranks them by scores."""
    parameters = {
        "TQ_DIM": part.dim,
        "TQ_BITS": part.bits,
        "TQ_KEEP": part.keep,
        "TQ_ROW_BYTES": part.row_bytes,
        "TQ_ROW_START": part.start,
        "TQ_NORMS": part.norms,
        "TQ_NORM": part.norm,
        "TQ_WIDE": int(part.sketch or part.wide),
        "TQ_SKETCH": int(part.sketch),
        "TQ_ADDED": int(part.added),
        "TQ_QUERY_BYTES": query_bytes(part.dim),
        "TQ_WHOLE_WORDS": int(words),
    }
    if name.endswith("_dp4a"):
        parameters["TQ_WARPS"] = WARPS
    return _kernel(name, parameters)


def query_bytes(dim: int) -> int:
    """Return the bytes of one prepared query's integers, or of their high or low bytes: whole steps of 32."""
    return -(-dim // 32) * 32


def norms_of(scales: Any) -> int:
    """Return how many scales a row has."""
    return 1 if len(scales.shape) == 1 else int(scales.shape[1])

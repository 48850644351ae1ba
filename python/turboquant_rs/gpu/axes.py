"""How rows of axes are laid over warps: the plan of kernels that rotate the segments of fitted codecs (axes.cuh)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .backend import Backend
from .fitted import FittedKey
from .kernels import Kernel
from .plan import SCRATCH_WAVES, WARPS, grid


@dataclass(frozen=True)
class AxesPlan:
    """How rows of axes are laid over warps."""

    warps: int
    #: Bytes of shared memory beside a kernel's own.
    shared: int
    #: Floats of global scratch a block; 0: none.
    scratch: int
    parameters: dict[str, int]

    def launch(self, backend: Backend, kernel: str, own: int, rows: int, parameters: dict[str, int], args: Any) -> None:
        """Launch a kernel on ``rows`` rows, with ``own`` bytes of shared memory for itself; scratch is added."""
        blocks = grid(backend, -(-rows // self.warps), SCRATCH_WAVES if self.scratch else None)
        scratch = backend.empty((blocks * self.scratch,), np.float32) if self.scratch else None
        named = Kernel(kernel, tuple(sorted((self.parameters | parameters).items())))
        backend.launch(named, blocks, 32 * self.warps, (*args, np.int64(rows), scratch), own + self.shared)


def axes_plan(backend: Backend, codec: FittedKey, own: int) -> AxesPlan:
    """Plan a kernel of one warp a row of axes, which has ``own`` bytes of shared memory beside them."""
    floats = codec.axes + codec.largest
    warps = WARPS
    while warps > 1 and own + 4 * warps * floats > backend.shared_limit // 2:
        warps //= 2
    in_scratch = own + 4 * warps * floats > backend.shared_limit
    parameters = {
        "TQ_AXES": codec.axes,
        "TQ_LARGEST": codec.largest,
        "TQ_SEGMENTS": len(codec.segments),
        "TQ_WARPS": warps,
        "TQ_IN_SCRATCH": int(in_scratch),
    }
    return AxesPlan(warps, 0 if in_scratch else 4 * warps * floats, warps * floats if in_scratch else 0, parameters)

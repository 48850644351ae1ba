"""The launch gate: what a raw kernel would misread is refused, with the argument, what was expected and what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gpu.shim import ShimBackend, missing
from turboquant_rs.gpu.constants import CodecKey
from turboquant_rs.gpu.decode import decode
from turboquant_rs.gpu.encode import encode
from turboquant_rs.gpu.gate import MOST_BLOCKS, check_launch
from turboquant_rs.gpu.kernels import Kernel
from turboquant_rs.gpu.score import score

KERNEL = Kernel("decode_warp", (("TQ_DIM", 8),))
LIMIT = 99 << 10


def arguments() -> dict[str, Any]:
    return {
        "packed": np.zeros((4, 8), np.uint8),
        "scales": np.zeros(4, np.float32),
        "levels": np.zeros(16, np.float32),
        "signs": np.zeros(8, np.uint32),
        "source": None,
        "factor": np.float32(1),
        "out": np.zeros((4, 8), np.float32),
        "rows": np.int64(4),
    }


def launch(grid: int = 1, block: int = 128, shared: int = 64, device: int | None = None, **changed: Any) -> None:
    check_launch(KERNEL, grid, block, tuple((arguments() | changed).values()), shared, LIMIT, device)


def test_what_is_right_passes() -> None:
    launch()
    launch(grid=MOST_BLOCKS, block=1024, shared=LIMIT)
    launch(source=np.zeros(8, np.uint16))


class OnDevice:
    """An array that says where it is."""

    flags = np.zeros(1).flags
    dtype = np.dtype(np.float32)
    size = 0

    def __init__(self, number: int) -> None:
        self.device = type("Device", (), {"id": number})()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: launch(rows=4), TypeError, "rows must be a NumPy int64 scalar, got int"),
        (lambda: launch(rows=np.int32(4)), TypeError, "rows must be a NumPy int64 scalar, got int32"),
        (lambda: launch(factor=1.0), TypeError, "factor must be a NumPy float32 scalar, got float"),
        (lambda: launch(factor=np.float64(1)), TypeError, "factor must be a NumPy float32 scalar, got float64"),
        (lambda: launch(out=None), TypeError, "out must be an array, got None"),
        (lambda: launch(out=[1.0]), TypeError, "out must be a device array, got list"),
        (lambda: launch(out=np.float32(1)), TypeError, "out must be a device array, got float32"),
        (lambda: launch(out=np.zeros((4, 8))), TypeError, "out must be float32, got float64"),
        (lambda: launch(scales=np.zeros(4, ">f4")), TypeError, "scales must be float32, got >f4"),
        (
            lambda: launch(out=np.zeros((4, 16), np.float32)[:, ::2]),
            ValueError,
            "out must be C-contiguous, got strides (64, 8)",
        ),
        (
            lambda: launch(scales=np.zeros(17, np.uint8)[1:].view(np.float32)),
            ValueError,
            "scales must be aligned to 4 bytes",
        ),
        (lambda: launch(scales=OnDevice(1), device=0), ValueError, "must be on device 0, got"),
        (lambda: launch(grid=0), ValueError, "a grid must have 1 to 2147483647 blocks, got 0"),
        (lambda: launch(grid=1 << 31), ValueError, "a grid must have 1 to 2147483647 blocks, got 2147483648"),
        (lambda: launch(block=0), ValueError, "a block must have 32 to 1024 threads in whole warps, got 0"),
        (lambda: launch(block=100), ValueError, "a block must have 32 to 1024 threads in whole warps, got 100"),
        (lambda: launch(block=1056), ValueError, "a block must have 32 to 1024 threads in whole warps, got 1056"),
        (lambda: launch(shared=LIMIT + 1), ValueError, "a block may have 101376 bytes of shared memory, got 101377"),
        (
            lambda: check_launch(KERNEL, 1, 32, tuple(arguments().values())[:-1], 0, LIMIT),
            TypeError,
            "kernel decode_warp takes 8 arguments, got 7",
        ),
    ],
)
def test_what_is_wrong_is_refused(call: Callable[[], None], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_drivers_check_shapes() -> None:
    """Before anything is launched."""
    if missing():
        pytest.skip(str(missing()))
    b, key = ShimBackend(), CodecKey(16, 4)
    x, packed, scales = b.empty((5, 16), np.float32), b.empty((5, 8), np.uint8), b.empty((5, 1), np.float32)
    wide, other = b.empty((5, 17), np.float32), b.empty((5, 9), np.uint8)
    scores = b.empty((5, 5), np.float32)
    for call, message in (
        (lambda: encode(b, key, wide, packed, scales), "x must have shape (5, 16), got (5, 17)"),
        (lambda: encode(b, key, x, other, scales), "packed must have shape (5, 8), got (5, 9)"),
        (lambda: encode(b, key, x, packed, scales[:4]), "scales must have shape (5,), got (4, 1)"),
        (lambda: encode(b, key, x, packed, scales, scores), "squares must have shape (5,), got (5, 5)"),
        (lambda: decode(b, key, 2, packed, scales, x), "packed must have shape (5, 4), got (5, 8)"),
        (lambda: decode(b, key, 4, packed, scales, wide), "out must have shape (5, 16), got (5, 17)"),
        (lambda: score(b, key, 4, wide, packed, scales, scores), "queries must have shape (5, 16), got (5, 17)"),
        (lambda: score(b, key, 4, x, packed, scales, x), "out must have shape (5, 5), got (5, 16)"),
    ):
        with pytest.raises(ValueError, match="shape") as caught:
            call()
        assert str(caught.value) == message
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        encode(b, key, x.astype(np.float64), packed, scales)
    with pytest.raises(ValueError, match="x must be C-contiguous"):
        encode(b, key, b.empty((16, 5), np.float32).T, packed, scales)
    assert not b.launches

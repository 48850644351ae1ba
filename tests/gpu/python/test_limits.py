"""The ends of what the GPU path takes: rows beyond 32-bit counts, rubbish, memory of temporaries, kernels kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from doubles.fake_cuda import CUDA
from doubles.fake_cupy import RawModule
from numpy.lib.stride_tricks import as_strided
from strategies import same
from turboquant_rs import TurboQuant, _truncate
from turboquant_rs.gpu import decode, encode, score
from turboquant_rs.gpu.constants import CodecKey
from turboquant_rs.gpu.gate import check_launch
from turboquant_rs.gpu.kernels import Kernel

HUGE = 2**32 + 5


def claimed(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array that claims to be large and C-contiguous; nobody may touch its elements."""
    strides = tuple(np.dtype(dtype).itemsize * int(np.prod(shape[i + 1 :], dtype=object)) for i in range(len(shape)))
    return as_strided(np.zeros(1, np.uint64).view(dtype), shape, strides, writeable=True)


class Recorder:
    """A backend that keeps what would be launched."""

    key: tuple[Any, ...] = ("recorder",)
    processors, shared_limit, capability = 132, 227 << 10, 90

    def __init__(self) -> None:
        self.launched: dict[str, tuple[int, tuple[Any, ...]]] = {}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def asarray(self, host: Any) -> Any:
        return np.array(host)

    def to_host(self, array: Any) -> Any:
        return np.array(array)

    def launch(self, kernel: Kernel, grid: int, block: int, args: tuple[Any, ...], shared: int) -> None:
        check_launch(kernel, grid, block, args, shared, self.shared_limit)
        self.launched[kernel.name] = grid, args


@pytest.mark.parametrize("dim", [8, 3072])
def test_row_counts_are_64_bit_and_blocks_bounded(dim: int) -> None:
    key, recorder = CodecKey(dim, 4), Recorder()
    packed, scales = claimed((HUGE, dim // 2), np.uint8), claimed((HUGE,), np.float32)
    rows = claimed((HUGE, dim), np.float32)
    encode.encode(recorder, key, rows, packed, scales, validate=False)
    decode.decode(recorder, key, 4, packed, scales, rows)
    for count in (2, 9):
        queries, out = np.zeros((count, dim), np.float32), claimed((count, HUGE), np.float32)
        score.score(recorder, key, 4, queries, packed, scales, out, validate=False)
    assert len(recorder.launched) == 5
    for name, (grid, args) in recorder.launched.items():
        counts = [arg for arg in args if isinstance(arg, np.int64)]
        expected = {"score_mma": [HUGE, 9], "score_dp4a": [HUGE, 2]}.get(
            name, [9] if name.startswith("query") else [HUGE]
        )
        assert [int(count) for count in counts] == expected
        assert grid <= 132 * 16


def test_more_scores_than_32_bits_count(cp: ModuleType) -> None:
    """Rows and bytes of many queries against many codes are computed as Python integers, without overflow."""
    recorder = Recorder()
    key = CodecKey(8, 4)
    out = claimed((70_000, 2**20), np.float32)
    packed, scales = claimed((2**20, 4), np.uint8), claimed((2**20,), np.float32)
    assert score.score(recorder, key, 4, claimed((70_000, 8), np.float32), packed, scales, out, validate=False) is None
    _, args = recorder.launched["score_mma"]
    assert int(args[-1]) == 70_000 - 65_536, "the queries after the first 65,536"
    assert args[6].ctypes.data - out.ctypes.data == 65_536 * 2**20 * 4


def rubbish(rows: int, dim: int) -> np.ndarray[Any, Any]:
    """Return rows of any bits: NaN of every kind, infinities, subnormal numbers, and rows of nothing else."""
    rng = np.random.default_rng(dim)
    x = rng.integers(0, 2**32, (rows, dim), dtype=np.uint64).astype(np.uint32)
    x[0], x[1], x[2], x[3] = 0x7FC00000, 0x7F800000, 0xFFFFFFFF, 0x7F7FFFFF
    return x.view(np.float32)


@pytest.mark.parametrize("dim", [1, 33, 64, 200, 3072])
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("refine", [False, 8])
def test_rubbish_touches_no_other_memory(cp: ModuleType, dim: int, bits: int, refine: Any) -> None:
    """Without validation any bits are encoded to something, and whatever that is, it decodes and scores."""
    q = TurboQuant(dim, bits, refine=refine)
    rows = rubbish(9, dim)
    x = cp.asarray(rows)
    codes = q.encode(x, validate=False)
    assert q.decode(codes).shape == (9, dim)
    for count in (2, 9):
        assert q.score(x[:count], codes, validate=False).shape == (count, 9)
    CUDA.check_surroundings()
    # Rows that are not rubbish, in the midst of it, have the CPU's bytes.
    good = np.random.default_rng(0).standard_normal((9, dim)).astype(np.float32)
    good[[0, 3, 5, 8]] = rows[:4]
    at = [1, 2, 4, 6, 7]
    assert q.encode(cp.asarray(good), validate=False)[at].to("cpu") == q.encode(good[at])


def test_truncation_takes_little_memory(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/gpu.md says: about 20 bytes a coordinate of a block."""
    block = 1 << 16
    monkeypatch.setattr(_truncate.truncate, "__defaults__", (block,))
    codes = TurboQuant(256, 8).encode(np.ones((2000, 256), np.float32)).to("cuda")
    before = CUDA.used[0]
    CUDA.reset()
    cut = codes.truncate(1)
    assert CUDA.peak[0] - before - cut.nbytes < 22 * block + 8 * len(codes)


def test_a_kernel_is_made_once_a_gpu(cp: ModuleType) -> None:
    q = TurboQuant(17, 5, seed=77)
    x = np.ones((3, 17), np.float32)
    RawModule.made.clear()
    for _ in range(3):
        q.encode(cp.asarray(x))
    TurboQuant(17, 5, seed=78).encode(cp.asarray(x))
    assert [device for device, _ in RawModule.made] == [0], "another seed is another table, not another kernel"
    with cp.cuda.Device(1):
        q.encode(cp.asarray(x))
        q.encode(cp.asarray(x))
    assert [device for device, _ in RawModule.made] == [0, 1]
    TurboQuant(17, 6).encode(cp.asarray(x))
    assert [device for device, _ in RawModule.made] == [0, 1, 0]
    uploads = CUDA.count("upload")
    q.encode(cp.asarray(x))
    assert CUDA.count("upload") == uploads + 2, "the rows, and the faults to fill in: tables stay there"


def test_every_stream_has_its_own_tables(cp: ModuleType) -> None:
    """A table is copied to the GPU, read and let go in the order of one stream: nothing else orders two of them."""
    q = TurboQuant(19, 3, seed=5)
    x = cp.asarray(np.ones((3, 19), np.float32))
    for stream in (cp.cuda.Stream(), cp.cuda.Stream()):
        CUDA.log.clear()
        with stream:
            codes = q.encode(x)
            q.decode(codes)
            q.score(x, codes)
        assert CUDA.count("upload") >= 5, "the levels, signs and boundaries, and two buffers of faults"
        assert {event.stream for event in CUDA.log} == {stream.ptr}
        CUDA.log.clear()
        with stream:
            q.encode(x)
        assert CUDA.count("upload") == 1, "the faults"


def test_threads_with_streams_and_gpus_of_their_own(cp: ModuleType) -> None:
    x = np.random.default_rng(0).standard_normal((20, 40)).astype(np.float32)

    def work(number: int) -> bool:
        q = TurboQuant(40, 1 + number % 8, seed=number)
        with cp.cuda.Device(number % 2), cp.cuda.Stream():
            codes = q.encode(cp.asarray(x))
            scores = q.score(cp.asarray(x[:3]), codes).get()
            return (
                codes.device == f"cuda:{number % 2}"
                and codes.to("cpu") == q.encode(x)
                and same(scores, q.score(x[:3], q.encode(x)))
            )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(32)))


@pytest.mark.parametrize(("bits", "integers"), [(4, 256), (8, 512)])
def test_scoring_and_decoding_take_what_the_page_says(cp: ModuleType, bits: int, integers: int) -> None:
    """Beside the result: the queries as integers and nothing; float16 queries once more as float32."""
    q = TurboQuant(256, bits)
    x = np.random.default_rng(0).standard_normal((300, 256)).astype(np.float16)
    codes = q.encode(x).to("cuda")
    for queries, converted in ((cp.asarray(x.astype(np.float32)), 0), (cp.asarray(x), 1024)):
        q.score(queries, codes)
        before = CUDA.used[0]
        CUDA.reset()
        scores = q.score(queries, codes)
        assert 0 < CUDA.peak[0] - before - scores.nbytes < 300 * (integers + converted) + 8192
    q.decode(codes)
    before = CUDA.used[0]
    CUDA.reset()
    decoded = q.decode(codes)
    assert 0 <= CUDA.peak[0] - before - decoded.nbytes < 4096

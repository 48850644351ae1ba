"""TurboQuant on arrays of a GPU: the CPU's bytes, decoded rows, scores and errors, from every kind of CUDA array."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from doubles import fake_cuda, fake_cupy, fake_torch
from doubles.fake_cuda import CUDA
from hypothesis import given
from hypothesis import strategies as st
from strategies import bits, dims, matrices, refines, same, scales, seeds
from subject import refuses
from turboquant_rs import Codes, TurboQuant
from turboquant_rs.gpu import arrays

N, DIM = 40, 24
X = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
Q = TurboQuant(DIM, 4, seed=1)
HOST = Q.encode(X)


class Interface:
    """A CUDA array that offers ``__cuda_array_interface__`` and nothing else."""

    def __init__(self, array: fake_cupy.ndarray) -> None:
        self._array = array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._array.__cuda_array_interface__


# --- equal to the CPU --------------------------------------------------------------------------------------------


@given(data=st.data(), seed=seeds(), scale=scales(), refine=refines())
def test_every_codec_gives_the_cpu_s_bytes(
    cp: ModuleType, data: st.DataObject, seed: int, scale: Any, refine: Any
) -> None:
    dim, width = data.draw(dims()), data.draw(bits())
    q = TurboQuant(dim, width, seed=seed, scale=scale, refine=refine)
    x = data.draw(matrices(dim))
    host, codes = q.encode(x), q.encode(cp.asarray(x))
    assert codes.device == "cuda:0"
    assert codes.to("cpu") == host
    top = data.draw(st.sampled_from([end for end in (1, 2, 4, 8) if end <= width and (width, end) != (3, 2)]))
    if top in (1, 2, 4) or top == width:
        host, codes = host.truncate(top), codes.truncate(top)
    decoded = q.decode(codes)
    assert isinstance(decoded, cp.ndarray)
    assert same(decoded.get(), q.decode(host))
    queries = data.draw(matrices(dim, rows=(1, 5)).filter(lambda m: float(np.abs(m).max()) < 2.0**80))
    scores = q.score(cp.asarray(queries), codes)
    assert isinstance(scores, cp.ndarray)
    assert same(scores.get(), q.score(queries, host))


def test_a_single_query_gives_a_row(cp: ModuleType) -> None:
    scores = Q.score(cp.asarray(X[0]), HOST.to("cuda"))
    assert same(scores.get(), Q.score(X[0], HOST))


def test_no_rows(cp: ModuleType) -> None:
    codes = Q.encode(cp.asarray(X[:0]))
    assert (len(codes), codes.device) == (0, "cuda:0")
    assert Q.decode(codes).shape == (0, DIM)
    assert Q.score(cp.asarray(X[:2]), codes).shape == (2, 0)
    assert Q.score(cp.asarray(X[:0]), HOST.to("cuda")).shape == (0, N)


# --- what comes in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int64", "bool"])
def test_other_dtypes(cp: ModuleType, dtype: str) -> None:
    x = (X * 10).astype(dtype)
    assert Q.encode(cp.asarray(x)).to("cpu") == Q.encode(x)
    assert same(Q.score(cp.asarray(x[:3]), HOST.to("cuda")).get(), Q.score(x[:3], HOST))


def test_bfloat16(cp: ModuleType) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = X.astype(ml_dtypes.bfloat16)
    assert Q.encode(cp.asarray(x)).to("cpu") == Q.encode(x)


STRIDED = {
    "transposed": (np.ascontiguousarray(X.T), lambda a: a.T),
    "every other row": (np.repeat(X, 2, axis=0), lambda a: a[::2]),
    "backwards": (np.ascontiguousarray(X[::-1]), lambda a: a[::-1]),
    "some columns": (np.pad(X, ((0, 0), (3, 2))), lambda a: a[:, 3:-2]),
    "rows from the middle": (np.pad(X, ((3, 2), (0, 0))), lambda a: a[3:-2]),
}


@pytest.mark.parametrize("name", STRIDED)
def test_any_stride(cp: ModuleType, name: str) -> None:
    whole, view = STRIDED[name]
    assert Q.encode(view(cp.asarray(whole))).to("cpu") == HOST
    assert same(Q.score(view(cp.asarray(whole)), HOST.to("cuda")).get(), Q.score(X, HOST))


def test_strided_codes(cp: ModuleType) -> None:
    codes = HOST.to("cuda")
    assert same(Q.decode(codes[::-2]).get(), Q.decode(HOST[::-2]))
    assert same(Q.score(cp.asarray(X[:2]), codes[1::3]).get(), Q.score(X[:2], HOST[1::3]))


def test_float32_is_read_in_place(cp: ModuleType) -> None:
    x = cp.asarray(np.repeat(X, 100, axis=0))
    before = CUDA.used[0]
    CUDA.reset()
    codes = Q.encode(x)
    extra = CUDA.peak[0] - before - codes.nbytes
    assert extra < 4096, "room for tables and rounding, but not for a copy of the rows"


@pytest.mark.parametrize("how", ["another dtype", "strided"])
def test_other_rows_are_converted_a_block_at_a_time(cp: ModuleType, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The memory that a conversion takes is a block's, and codes do not depend on blocks."""
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 4 * DIM * 300)
    assert arrays.block_rows(DIM) == 256
    rows = np.repeat(X, 50, axis=0)[:1999]
    x = cp.asarray(rows.astype(np.float64)) if how == "another dtype" else cp.asarray(np.ascontiguousarray(rows.T)).T
    before = CUDA.used[0]
    CUDA.reset()
    codes = Q.encode(x)
    assert codes.to("cpu") == Q.encode(rows)
    assert CUDA.count("launch") == 8
    # One block of float32, tables and rounding; not the 2,000 rows.
    assert CUDA.peak[0] - before - codes.nbytes < 4 * DIM * 256 + 8192


def test_arrays_by_interface_alone(cp: ModuleType) -> None:
    codes = Q.encode(Interface(cp.asarray(X)))  # type: ignore[arg-type]
    assert isinstance(codes.packed, cp.ndarray)
    assert codes.to("cpu") == HOST
    assert isinstance(Q.score(Interface(cp.asarray(X)), codes), cp.ndarray)  # type: ignore[arg-type]
    assert len(Q.encode(Interface(cp.asarray(X[:0])))) == 0  # type: ignore[arg-type]


def test_inputs_are_never_written_to(cp: ModuleType) -> None:
    x, codes = cp.asarray(X), HOST.to("cuda")
    before = codes.to_bytes()
    Q.encode(x)
    Q.score(x, codes)
    Q.decode(codes)
    codes.truncate(1)
    assert same(x.get(), X)
    assert codes.to_bytes() == before


# --- PyTorch -----------------------------------------------------------------------------------------------------


def test_tensors_come_in_without_a_copy_and_scores_go_out_as_tensors(cp: ModuleType, torch: ModuleType) -> None:
    tensor = torch.Tensor(cp.asarray(X))
    before = CUDA.used[0]
    CUDA.reset()
    codes = Q.encode(tensor)
    assert CUDA.peak[0] - before - codes.nbytes < 4096
    assert isinstance(codes.packed, cp.ndarray), "codes hold CuPy arrays, whatever came"
    assert codes.to("cpu") == HOST
    scores = Q.score(tensor, codes)
    assert isinstance(scores, torch.Tensor)
    assert same(scores.cpu(), Q.score(X, HOST))
    assert torch.from_dlpack(codes.packed).data_ptr() == codes.packed.data.ptr


def test_everything_of_a_tensor_happens_on_pytorch_s_stream(cp: ModuleType, torch: ModuleType) -> None:
    tensor = torch.Tensor(cp.asarray(X))
    with fake_torch.stream(0x7070):
        codes = Q.encode(tensor)  # uploads the codec's tables
        CUDA.log.clear()
        Q.encode(tensor)
        scores = Q.score(tensor, codes)
    assert {event.stream for event in CUDA.log} == {0x7070}
    assert {event.kind for event in CUDA.log} >= {"launch", "alloc"}
    assert set(tensor.consumers) == {0x7070}, "the producer has nothing to wait for"
    assert scores.consumers == [0x7070]
    CUDA.log.clear()
    Q.encode(tensor)
    assert {event.stream for event in CUDA.log} == {0}, "and the stream before is CuPy's current one again"


def test_a_tensor_that_requires_gradients(cp: ModuleType, torch: ModuleType) -> None:
    tensor = torch.Tensor(cp.asarray(X), requires_grad=True)
    text = "must be an array that DLPack can pass on, got torch.Tensor: Can't export tensors that require gradient, "
    refuses(lambda: Q.encode(tensor), f"x {text}use tensor.detach()", TypeError)
    refuses(lambda: Q.score(tensor, HOST.to("cuda")), f"queries {text}use tensor.detach()", TypeError)


def test_a_stream_of_cupy_13(cp: ModuleType, torch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which lacks from_external and has ExternalStream."""
    monkeypatch.delattr(fake_cuda.Stream, "from_external")
    monkeypatch.setattr(
        cp.cuda, "ExternalStream", lambda pointer, device: fake_cuda.Stream(pointer + device), raising=False
    )
    tensor = torch.Tensor(cp.asarray(X))
    with fake_torch.stream(0x7070):
        CUDA.log.clear()
        Q.encode(tensor)
    assert {event.stream for event in CUDA.log} == {0x7070}


def test_arrays_of_other_namespaces_are_answered_in_them(cp: ModuleType) -> None:
    class Foreign(Interface):
        def __array_namespace__(self, **_: Any) -> Any:
            return SimpleNamespace(from_dlpack=lambda array: Foreign(array.__dlpack__().array))

    queries = Foreign(cp.asarray(X))
    scores: Any = Q.score(queries, Q.encode(queries))  # type: ignore[arg-type]
    assert type(scores) is Foreign
    assert same(scores._array.get(), Q.score(X, HOST))


# --- devices, streams, waits -------------------------------------------------------------------------------------


def test_cupy_s_current_stream_is_used(cp: ModuleType) -> None:
    x, codes = cp.asarray(X), HOST.to("cuda")
    CUDA.log.clear()
    with cp.cuda.Stream() as stream:
        Q.encode(x)
        Q.decode(codes)
        Q.score(x, codes)
        codes.truncate(2)
    assert {event.stream for event in CUDA.log} == {stream.ptr}


def test_everything_happens_on_the_array_s_own_gpu(cp: ModuleType) -> None:
    with cp.cuda.Device(1):
        x = cp.asarray(X)
        strided = cp.asarray(np.asfortranarray(X.astype(np.float64)))
    CUDA.log.clear()
    codes = Q.encode(x)
    assert Q.encode(strided) == codes
    Q.decode(codes)
    scores = Q.score(x, codes)
    assert {event.device for event in CUDA.log} == {1}
    assert (codes.device, scores.device.id) == ("cuda:1", 1)
    assert fake_cuda.current() == 0


def test_validation_waits_once_and_its_absence_never(cp: ModuleType) -> None:
    x, codes = cp.asarray(X), HOST.to("cuda")
    Q.encode(x)
    Q.score(x, codes)
    CUDA.log.clear()
    Q.encode(x)
    assert CUDA.count("sync") == 1
    Q.score(x, codes)
    assert CUDA.count("sync") == 2
    CUDA.log.clear()
    Q.encode(x, validate=False)
    Q.encode(cp.asarray(X.astype(np.float64)), validate=False)
    Q.score(x, codes, validate=False)
    Q.decode(codes)
    codes[3:5].to("cuda")
    Codes.concatenate([codes, codes])
    assert CUDA.count("sync") == 0


def test_memory_of_other_libraries_is_held_until_the_work_is_done(cp: ModuleType, torch: ModuleType) -> None:
    x, codes = cp.asarray(X), HOST.to("cuda")
    for call in (lambda x: Q.encode(x, validate=False), lambda x: Q.score(x, codes, validate=False)):
        CUDA.log.clear()
        call(torch.Tensor(x))
        assert CUDA.count("sync") == 0
        call(Interface(x))
        assert CUDA.log[-1].kind == "sync"


def test_without_validation_other_rows_are_as_ever(cp: ModuleType) -> None:
    x = X.copy()
    x[7, 3], x[9, 0], x[11] = np.nan, np.inf, 3e38
    codes = Q.encode(cp.asarray(x), validate=False)
    good = [i for i in range(N) if i not in (7, 9, 11)]
    assert codes[good].to("cpu") == HOST[good]
    scores = Q.score(cp.asarray(x), HOST.to("cuda"), validate=False)
    assert same(scores.get()[good], Q.score(X, HOST)[good])
    assert np.isfinite(Q.decode(codes).get()[good]).all()


def test_on_the_cpu_validate_changes_nothing() -> None:
    assert Q.encode(X, validate=False) == HOST
    x = X.copy()
    x[7, 3] = np.nan
    for validate in (True, False):
        refuses(lambda v=validate: Q.encode(x, validate=v), "x must be finite, got NaN at row 7, column 3")  # type: ignore[misc]
        text = "queries must be finite, got NaN at row 7, column 3"
        refuses(lambda v=validate: Q.score(x, HOST, validate=v), text)  # type: ignore[misc]


@pytest.mark.parametrize("value", [1, None, "yes", np.array([True])], ids=str)
def test_validate_is_a_flag(cp: ModuleType, value: Any) -> None:
    text = f"validate must be True or False, got {value!r}"
    for x in (X, cp.asarray(X)):
        refuses(lambda x=x: Q.encode(x, validate=value), text, TypeError)  # type: ignore[misc]
    refuses(lambda: Q.score(X, HOST, validate=value), text, TypeError)


# --- errors are the CPU's ----------------------------------------------------------------------------------------


def both(call: Any, x: np.ndarray[Any, Any], cp: ModuleType) -> None:
    """Assert that a call refuses an array of the host and of the GPU in the same words."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call(x, HOST)
    refuses(lambda: call(cp.asarray(x), HOST.to("cuda")), str(caught.value), type(caught.value))


CALLS = {"encode": lambda x, codes: Q.encode(x), "score": Q.score}
each_call = pytest.mark.parametrize("name", CALLS)


@each_call
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(cp: ModuleType, name: str, dtype: str, value: float) -> None:
    for row, column in [(0, 0), (7, DIM - 1), (N - 1, 3)]:
        x = X.astype(dtype)
        x[row, column] = x[N - 1, DIM - 1] = value
        both(CALLS[name], x, cp)


@each_call
def test_values_and_norms_beyond_float32(cp: ModuleType, name: str) -> None:
    x = X.astype(np.float64)
    x[31, 5] = x[35, 1] = -1e39
    both(CALLS[name], x, cp)
    x = X.copy()
    x[20] = 2.0**127
    both(CALLS[name], x, cp)


def test_the_row_is_counted_over_blocks(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 4 * DIM * 128)
    x = np.repeat(X, 10, axis=0).astype(np.float64)
    x[333, 7], x[390, 0] = 1e200, np.nan
    both(CALLS["encode"], x, cp)


@each_call
@pytest.mark.parametrize(
    "x",
    [
        np.ones((2, DIM + 1)),
        np.ones((2, 0)),
        np.ones((2, 2, DIM)),
        np.ones(()),
        np.ones((2, DIM), complex),
        np.ones(DIM + 1),
    ],
    ids=lambda x: f"{x.dtype}-{x.shape}",
)
def test_shapes_and_dtypes(cp: ModuleType, name: str, x: Any) -> None:
    both(CALLS[name], x, cp)


def test_codes_and_queries_of_two_devices(cp: ModuleType) -> None:
    codes = HOST.to("cuda")
    text = (
        "queries must be on cuda:0, where the codes are, got numpy.ndarray on the CPU; move one: "
        'cupy.asarray(queries), or codes.to("cpu")'
    )
    refuses(lambda: Q.score(X, codes), text)
    refuses(lambda: Q.score(X.tolist(), codes), text.replace("numpy.ndarray", "list"))
    text = "queries must be on cuda:1, where the codes are, got cupy.ndarray on cuda:0"
    refuses(lambda: Q.score(cp.asarray(X), codes.to("cuda:1")), text)
    text = (
        "queries must be on the CPU, where the codes are, got a CUDA array (cupy.ndarray); move one: "
        'codes.to("cuda"), or queries.get() in CuPy, queries.cpu() in PyTorch'
    )
    refuses(lambda: Q.score(cp.asarray(X), HOST), text)


def test_other_codecs_codes(cp: ModuleType) -> None:
    other = TurboQuant(DIM, 4, seed=2)
    for call in (other.decode, lambda codes: other.score(cp.asarray(X), codes)):
        with pytest.raises(ValueError, match=r"^codes must come from this codec, "):
            call(HOST.to("cuda"))


def test_memory_of_other_accelerators(cp: ModuleType) -> None:
    class OnRocm:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 10, 0

    for call in (Q.encode, lambda x: Q.score(x, HOST), lambda x: Q.score(x, HOST.to("cuda"))):
        argument = "x" if call == Q.encode else "queries"
        with pytest.raises(TypeError, match=rf"^{argument} must be in host memory or on a CUDA GPU, got .*OnRocm on"):
            call(OnRocm())


# --- memory ------------------------------------------------------------------------------------------------------


def test_too_little_memory(cp: ModuleType) -> None:
    rows = np.repeat(X, 100, axis=0)
    x, codes = cp.asarray(rows), Q.encode(rows).to("cuda")
    Q.encode(cp.asarray(X))
    Q.score(cp.asarray(X), codes[:4])
    before = codes.to_bytes()
    CUDA.memory = CUDA.used[0] + 2048
    room = "bytes on cuda:0, where 2,048 are free;"
    wanted = [
        (lambda: Q.encode(x), f"encoding 4,000 rows needs 64,000 {room} encode fewer rows a call"),
        (
            lambda: Q.decode(codes),
            f"decoding 4,000 rows needs 384,000 {room} decode fewer rows a call (codes[first:last])",
        ),
        (
            lambda: Q.score(x, codes),
            f"scoring 4,000 queries against 4,000 codes needs 64,128,000 {room} score fewer queries a call",
        ),
    ]
    for call, text in wanted:
        refuses(call, f"{text}, or free memory there", MemoryError)
        assert CUDA.used[0] == CUDA.memory - 2048, "what the call took is given back"
    CUDA.memory = 1 << 30
    assert codes.to_bytes() == before
    assert same(Q.decode(codes).get(), Q.decode(codes.to("cpu")))

"""The papers' codecs on arrays of a GPU: the CPU's bytes, decoded rows, scores and errors."""

from __future__ import annotations

import copy
import gc
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from doubles.fake_cuda import CUDA
from hypothesis import given
from hypothesis import strategies as st
from strategies import matrices, same, seeds
from subject import refuses
from turboquant_rs import QJL, Codes, PaperCodes, PolarQuant, TurboQuantProd
from turboquant_rs.gpu import arrays

N, DIM = 40, 32
X = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
PROJECTIONS = ("gaussian", "orthogonal", "hadamard")
#: Every kind of codec that has kernels.
CODECS: dict[str, Any] = {
    **{f"qjl {name}": QJL(DIM, 48, projection=name, seed=3) for name in PROJECTIONS},  # type: ignore[arg-type]
    "prod of one bit": TurboQuantProd(DIM, 1, seed=3),
    "prod gaussian": TurboQuantProd(DIM, 4, seed=3),
    "prod hadamard": TurboQuantProd(DIM, 7, projection="hadamard", seed=3),
    "polar": PolarQuant(DIM, 3, (4, 3, 2), seed=3),
    "polar of float32": PolarQuant(DIM, 5, (5, 1, 2, 3, 8), radius="float32", seed=3),
}
each = pytest.mark.parametrize("name", CODECS)


def pair(name: str) -> tuple[Any, PaperCodes]:
    """Return a codec and the CPU's codes."""
    return CODECS[name], CODECS[name].encode(X)


@given(data=st.data(), seed=seeds(), projection=st.sampled_from(PROJECTIONS))
def test_every_qjl_gives_the_cpu_s_bytes(cp: ModuleType, data: st.DataObject, seed: int, projection: Any) -> None:
    dim = data.draw(st.integers(1, 70))
    q = QJL(dim, data.draw(st.integers(1, 120)), projection=projection, seed=seed)
    equal_on_both(cp, q, data.draw(matrices(dim)), data.draw(st.integers(1, 6)))


@given(data=st.data(), seed=seeds(), projection=st.sampled_from(PROJECTIONS), bits=st.integers(1, 8))
def test_every_prod_gives_the_cpu_s_bytes(
    cp: ModuleType, data: st.DataObject, seed: int, projection: Any, bits: int
) -> None:
    dim = data.draw(st.integers(1, 70))
    q = TurboQuantProd(dim, bits, projection=projection, seed=seed)
    equal_on_both(cp, q, data.draw(matrices(dim)), data.draw(st.integers(1, 6)))


def equal_on_both(cp: ModuleType, q: Any, x: Any, count: int) -> None:
    """Assert that a codec does the same on the CPU and on the GPU."""
    host, codes = q.encode(x), q.encode(cp.asarray(x))
    assert isinstance(codes, PaperCodes)
    assert codes.device == "cuda:0"
    assert codes.to("cpu") == host
    decoded = q.decode(codes)
    assert isinstance(decoded, cp.ndarray)
    assert same(decoded.get(), q.decode(host))
    queries = np.random.default_rng(count).standard_normal((count, q.dim)).astype(np.float32)
    scores = q.score(cp.asarray(queries), codes)
    assert isinstance(scores, cp.ndarray)
    assert same(scores.get(), q.score(queries, host))


@each
def test_one_query_and_none_and_no_rows(cp: ModuleType, name: str) -> None:
    q, host = pair(name)
    assert same(q.score(cp.asarray(X[0]), host.to("cuda")).get(), q.score(X[0], host))
    codes = q.encode(cp.asarray(X[:0]))
    assert (len(codes), codes.device) == (0, "cuda:0")
    assert q.decode(codes).shape == (0, DIM)
    assert q.score(cp.asarray(X[:2]), codes).shape == (2, 0)
    assert q.score(cp.asarray(X[:0]), host.to("cuda")).shape == (0, N)


@each
def test_codes_move_and_are_kept_as_others(cp: ModuleType, name: str, tmp_path: Path) -> None:
    q, host = pair(name)
    codes = host.to("cuda")
    assert repr(codes).endswith(", on cuda:0)")
    assert (codes.to("cuda") is codes, host.to("cpu") is host) == (True, True)
    assert codes.to("cuda:1").to("cpu") == host
    assert codes[[3, 7]].to("cpu") == host[[3, 7]]
    assert codes[::-2].to("cpu") == host[::-2]
    assert PaperCodes.concatenate([codes[:3], codes[10:]]).to("cpu") == PaperCodes.concatenate([host[:3], host[10:]])
    assert codes.to_bytes() == host.to_bytes()
    codes.save(tmp_path / "a.tq")
    for read in (PaperCodes.load, Codes.load):
        assert read(tmp_path / "a.tq").to("cuda") == codes
    for again in (pickle.loads(pickle.dumps(codes)), copy.deepcopy(codes)):
        assert (type(again), again.device) == (PaperCodes, "cuda:0")
        assert again == codes
    assert pickle.loads(pickle.dumps(host)) == host
    assert same(q.decode(codes[::3]).get(), q.decode(host[::3]))
    assert same(q.score(cp.asarray(X), codes[1::3]).get(), q.score(X, host[1::3]))


@each
def test_parts_that_are_no_codes(cp: ModuleType, name: str) -> None:
    """Arrays on a GPU are checked as the CPU's are."""
    q, host = pair(name)
    codes = host.to("cuda")
    assert PaperCodes(codes.packed, codes.scales, q) == codes
    refuses(
        lambda: PaperCodes(codes.packed[:3], codes.scales, q),
        "scales must have a row for each of 3 packed rows, got 40",
    )
    if host.scales.shape[1]:
        codes.scales[5, -1] = np.inf
        text = "scales must be finite, got inf at row 5"
        refuses(lambda: PaperCodes(codes.packed, codes.scales, q), text)
        refuses(lambda: PaperCodes(*(part.get() for part in (codes.packed, codes.scales)), q), text)  # type: ignore[call-arg]


@each
def test_other_dtypes_and_strides(cp: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 4 * DIM * 128)
    q, host = pair(name)
    rows = np.repeat(X, 8, axis=0)
    assert q.encode(cp.asarray(rows.astype(np.float64))).to("cpu") == q.encode(rows)
    assert q.encode(cp.asarray(np.ascontiguousarray(rows.T)).T).to("cpu") == q.encode(rows)
    half = X.astype(np.float16)
    assert same(q.score(cp.asarray(half), host.to("cuda")).get(), q.score(half, host))


@each
def test_tensors(cp: ModuleType, torch: ModuleType, name: str) -> None:
    q, host = pair(name)
    tensor = torch.Tensor(cp.asarray(X))
    codes = q.encode(tensor)
    assert isinstance(codes.packed, cp.ndarray)
    scores = q.score(tensor, codes)
    assert isinstance(scores, torch.Tensor)
    assert same(scores.cpu(), q.score(X, host))


@each
def test_everything_happens_on_the_array_s_own_gpu_and_stream(cp: ModuleType, name: str) -> None:
    q = CODECS[name]
    with cp.cuda.Device(1):
        x = cp.asarray(X)
        with cp.cuda.Stream() as stream:
            CUDA.log.clear()
            codes = q.encode(x)
            q.decode(codes)
            q.score(x, codes)
    assert {(event.device, event.stream) for event in CUDA.log} == {(1, stream.ptr)}
    assert codes.device == "cuda:1"


@each
def test_validation_waits_once_and_its_absence_never(cp: ModuleType, name: str) -> None:
    q, host = pair(name)
    x, codes = cp.asarray(X), host.to("cuda")
    q.encode(x)
    q.score(x, codes)
    CUDA.log.clear()
    q.encode(x)
    q.score(x, codes)
    assert CUDA.count("sync") == 2
    CUDA.log.clear()
    q.encode(x, validate=False)
    q.score(x, codes, validate=False)
    q.decode(codes)
    assert CUDA.count("sync") == 0


@each
def test_errors_are_the_cpu_s(cp: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 4 * DIM * 128)
    q, host = pair(name)
    codes = host.to("cuda")
    rows = np.repeat(X, 5, axis=0)
    for value, where in ((np.nan, (177, 3)), (-np.inf, (0, DIM - 1)), (3e38, (120, slice(None)))):
        for dtype in (np.float32, np.float64):
            x = rows.astype(dtype)
            x[where] = value
            for call in (lambda x, _: q.encode(x), q.score):
                with pytest.raises(ValueError, match="must") as caught:
                    call(x, host)
                refuses(lambda x=x, call=call: call(cp.asarray(x), codes), str(caught.value))  # type: ignore[misc]
    refuses(lambda: q.encode(X, validate=1), "validate must be True or False, got 1", TypeError)
    refuses(lambda: q.score(X, host, validate=None), "validate must be True or False, got None", TypeError)


@each
def test_two_devices(cp: ModuleType, name: str) -> None:
    q, host = pair(name)
    refuses(
        lambda: q.score(X, host.to("cuda")),
        "queries must be on cuda:0, where the codes are, got numpy.ndarray on the CPU; move one: "
        'cupy.asarray(queries), or codes.to("cpu")',
    )
    refuses(
        lambda: q.score(cp.asarray(X), host),
        "queries must be on the CPU, where the codes are, got a CUDA array (cupy.ndarray); move one: "
        'codes.to("cuda"), or queries.get() in CuPy, queries.cpu() in PyTorch',
    )


@each
def test_too_little_memory_and_what_is_said_of_it(cp: ModuleType, name: str) -> None:
    gc.collect()  # what earlier tests left behind in cycles
    q = CODECS[name]
    rows = np.repeat(X, 20, axis=0)
    x, codes = cp.asarray(rows), q.encode(rows).to("cuda")
    before_bytes = codes.to_bytes()
    for call in (lambda: q.encode(x), lambda: q.decode(codes), lambda: q.score(x[:N], codes)):
        call()  # uploads the tables
        before = CUDA.used[0]
        CUDA.reset()
        result = call()
        peak = CUDA.peak[0] - before
        del result
        gc.collect()
        CUDA.memory = before + 1024
        with pytest.raises(MemoryError, match=r" bytes on cuda:0, where [\d,]+ are free; ") as caught:
            call()
        said = int(str(caught.value).split("needs ")[1].split(" bytes")[0].replace(",", ""))
        del caught
        assert CUDA.used[0] == before, "what the call took is given back"
        CUDA.memory = 1 << 30
        assert said <= peak <= said + 16 * 512, "each array is rounded up to 512 bytes"
    assert codes.to_bytes() == before_bytes


@each
def test_rubbish_touches_no_other_memory(cp: ModuleType, name: str) -> None:
    """Without validation any bits are encoded to something, and other rows are as ever."""
    q, host = pair(name)
    rows = np.random.default_rng(1).integers(0, 2**32, (N, DIM), dtype=np.uint64).astype(np.uint32).view(np.float32)
    bad = [0, 7, N - 1]
    x = X.copy()
    x[bad] = rows[bad]
    x[7, 3], x[0] = np.nan, 3e38
    good = [i for i in range(N) if i not in bad]
    codes = q.encode(cp.asarray(x), validate=False)
    assert codes[good].to("cpu") == host[good]
    assert same(q.score(cp.asarray(x), host.to("cuda"), validate=False).get()[good], q.score(X, host)[good])
    wild = q.encode(cp.asarray(rows), validate=False)
    assert q.decode(wild).shape == (N, DIM)
    assert q.score(cp.asarray(rows), wild, validate=False).shape == (N, N)
    CUDA.check_surroundings()


@pytest.mark.parametrize(("radius", "bad"), [("float16", 0x7C00), ("float16", 0x8000), ("float32", 0x7FC00000)])
def test_radii(cp: ModuleType, radius: Any, bad: int) -> None:
    """They are read where the codes are, and refused as on the CPU where no encoder writes them."""
    q = PolarQuant(DIM, 3, (4, 3, 2), radius=radius)
    host = q.encode(X)
    codes = host.to("cuda")
    found = q.radii(codes)
    assert isinstance(found, cp.ndarray)
    assert same(found.get(), q.radii(host))
    damaged = host.packed.copy()
    width = 2 if radius == "float16" else 4
    damaged[7, width : 2 * width] = np.frombuffer(bad.to_bytes(width, "little"), np.uint8)
    with pytest.raises(
        ValueError, match=r"^packed must be rows with finite radii that are not negative, got "
    ) as caught:
        PaperCodes(damaged, host.scales, q)
    refuses(lambda: PaperCodes(cp.asarray(damaged), codes.scales, q), str(caught.value))  # type: ignore[arg-type]


def test_radii_beyond_float16(cp: ModuleType) -> None:
    q, x = PolarQuant(DIM), X.copy()
    x[[20, 31]] *= 1e6
    with pytest.raises(ValueError, match="float16") as caught:
        q.encode(x)
    refuses(lambda: q.encode(cp.asarray(x)), str(caught.value))


@given(data=st.data(), seed=seeds(), radius=st.sampled_from(["float16", "float32"]))
def test_every_polar_gives_the_cpu_s_bytes(cp: ModuleType, data: st.DataObject, seed: int, radius: Any) -> None:
    bits = tuple(data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=5)))
    dim = data.draw(st.integers(1, 128 >> len(bits))) << len(bits)
    q = PolarQuant(dim, len(bits), bits, radius=radius, seed=seed)
    x = data.draw(matrices(dim))
    if radius == "float16":
        x = np.clip(x, -1000, 1000)
    equal_on_both(cp, q, x, data.draw(st.integers(1, 6)))

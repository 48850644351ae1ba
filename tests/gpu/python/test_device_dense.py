"""TurboQuant with the dense rotation on arrays of a GPU: the CPU's bytes, decoded rows, scores and errors."""

from __future__ import annotations

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
from strategies import bits, matrices, refines, same, scales, seeds
from subject import refuses
from turboquant_rs import Codes, TurboQuant
from turboquant_rs.reference.units import stage_ends

N, DIM = 40, 24
X = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
Q = TurboQuant(DIM, 4, seed=1, rotation="dense")
HOST = Q.encode(X)


@given(data=st.data(), width=bits(), seed=seeds(), scale=scales(), refine=refines())
def test_every_codec_gives_the_cpu_s_bytes(
    cp: ModuleType, data: st.DataObject, width: int, seed: int, scale: Any, refine: Any
) -> None:
    dim = data.draw(st.integers(1, 60))
    q = TurboQuant(dim, width, seed=seed, scale=scale, refine=refine, rotation="dense")
    x = data.draw(matrices(dim))
    host, codes = q.encode(x), q.encode(cp.asarray(x))
    assert codes.device == "cuda:0"
    assert codes.to("cpu") == host
    keep = data.draw(st.sampled_from(stage_ends(width)))
    host, codes = host.truncate(keep), codes.truncate(keep)
    assert codes.to("cpu") == host
    assert same(q.decode(codes).get(), q.decode(host))
    queries = data.draw(matrices(dim, rows=(1, 6)).filter(lambda m: float(np.abs(m).max()) < 2.0**80))
    assert same(q.score(cp.asarray(queries), codes).get(), q.score(queries, host))


def test_codes_move_and_are_kept_as_others(cp: ModuleType, tmp_path: Path) -> None:
    codes = HOST.to("cuda")
    assert codes.to("cuda:1").to("cpu") == HOST
    codes.save(tmp_path / "a.tq")
    assert Codes.load(tmp_path / "a.tq").to("cuda") == codes
    assert pickle.loads(pickle.dumps(codes)) == codes
    assert same(Q.decode(codes[::-2]).get(), Q.decode(HOST[::-2]))
    assert len(Q.encode(cp.asarray(X[:0]))) == 0


def test_a_dense_rotation_is_not_the_structured_one(cp: ModuleType) -> None:
    """Tables and kernels of both are kept side by side."""
    other = TurboQuant(DIM, 4, seed=1)
    x = cp.asarray(X)
    for q in (Q, other, Q, other):
        assert q.encode(x).to("cpu") == q.encode(X)
    assert Q.encode(x).to("cpu") != other.encode(x).to("cpu")


def test_errors_are_the_cpu_s(cp: ModuleType) -> None:
    codes = HOST.to("cuda")
    for value, where in ((np.nan, (7, 3)), (np.inf, (0, DIM - 1)), (3e38, (20, slice(None)))):
        x = X.copy()
        x[where] = value
        for call in (lambda x, _: Q.encode(x), Q.score):
            with pytest.raises(ValueError, match="must") as caught:
                call(x, HOST)
            refuses(lambda x=x, call=call: call(cp.asarray(x), codes), str(caught.value))  # type: ignore[misc]


def test_waits_streams_and_memory(cp: ModuleType) -> None:
    gc.collect()  # what earlier tests left behind in cycles
    rows = np.repeat(X, 20, axis=0)
    x, codes = cp.asarray(rows), Q.encode(rows).to("cuda")
    with cp.cuda.Stream() as stream:
        CUDA.log.clear()
        Q.encode(x)
        Q.score(x, codes)
        assert {event.stream for event in CUDA.log} == {stream.ptr}
        assert CUDA.count("sync") == 2
        CUDA.log.clear()
        Q.encode(x, validate=False)
        Q.score(x, codes, validate=False)
        Q.decode(codes)
        assert CUDA.count("sync") == 0
    for call in (lambda: Q.encode(x), lambda: Q.decode(codes), lambda: Q.score(x, codes)):
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
        CUDA.memory = 1 << 30
        assert said <= peak <= said + 16 * 512, "each array is rounded up to 512 bytes"

"""Fitted codecs on arrays of a GPU: the CPU's bytes, decoded rows, scores, truncations and errors."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from doubles.fake_cuda import CUDA
from fits import fitted_pair, random_parts
from hypothesis import given
from hypothesis import strategies as st
from strategies import matrices, mixed_rows, refines, same, seeds
from subject import refuses
from turboquant_rs import Codes, Index, TurboQuant
from turboquant_rs.gpu import arrays, constants

N, DIM = 40, 24
X = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
Q = fitted_pair(random_parts(DIM, 3, axes=20, center=True), seed=1, scale="matched").fast
HOST = Q.encode(X)


def rates(codes: Codes) -> list[Fraction]:
    """Return the average bits of a few prefixes, of the shortest and of the whole code."""
    core = codes.codec._core
    whole = core.row_bits(core.full)
    found = {core.row_bits(core.prefix(bits)) for bits in range(core.first_unit, whole + 1)}
    ordered = sorted(found)
    return [Fraction(bits, codes.dim) for bits in (ordered[0], ordered[len(ordered) // 2], ordered[-1])]


@given(data=st.data(), dim=st.integers(1, 70), seed=seeds(), refine=refines(), center=st.booleans(), dual=st.booleans())
def test_every_codec_gives_the_cpu_s_bytes(
    cp: ModuleType, data: st.DataObject, dim: int, seed: int, refine: Any, center: bool, dual: bool
) -> None:
    axes = data.draw(st.just(dim) | st.integers(1, dim))
    parts = random_parts(dim, data.draw(st.integers(0, 99)), axes=axes, center=center, dual=dual)
    q = fitted_pair(
        parts, seed=seed, scale=data.draw(st.sampled_from(("unbiased", "mse", "matched"))), refine=refine
    ).fast
    x = data.draw(matrices(dim))
    host, codes = q.encode(x), q.encode(cp.asarray(x))
    assert codes.device == "cuda:0"
    assert codes.to("cpu") == host
    rate = data.draw(st.sampled_from(rates(host)))
    host, codes = host.truncate(rate), codes.truncate(rate)  # type: ignore[arg-type]
    assert codes.device == "cuda:0"
    assert codes.to("cpu") == host
    decoded = q.decode(codes)
    assert isinstance(decoded, cp.ndarray)
    assert same(decoded.get(), q.decode(host))
    queries = data.draw(matrices(dim, rows=(1, 6)).filter(lambda m: float(np.abs(m).max()) < 2.0**80))
    scores = q.score(cp.asarray(queries), codes)
    assert isinstance(scores, cp.ndarray)
    assert same(scores.get(), q.score(queries, host))


def test_a_fit(cp: ModuleType) -> None:
    """Whatever a fit finds runs there, and truncation commutes with moving."""
    rng = np.random.default_rng(1)
    sample = (rng.standard_normal((600, 64)) * np.arange(1, 65) ** -0.7).astype(np.float32)
    for bits in (0.5, 1.5, 2.25):
        q = TurboQuant.fit(sample, bits=bits, seed=3)
        assert q.fitted
        codes = q.encode(cp.asarray(sample[:30]))
        assert codes.to("cpu") == q.encode(sample[:30])
        assert codes.truncate(bits / 2).to("cpu") == codes.to("cpu").truncate(bits / 2)
        assert codes.to("cpu").truncate(bits / 2).to("cuda") == codes.truncate(bits / 2)
        assert same(q.score(cp.asarray(sample[0]), codes).get(), q.score(sample[0], codes.to("cpu")))


def test_codes_move_and_are_kept_as_others(cp: ModuleType, tmp_path: Path) -> None:
    codes = HOST.to("cuda")
    assert repr(codes).endswith(", on cuda:0)")
    assert codes.to("cuda:1").to("cpu") == HOST
    assert codes[[3, 7]].to("cpu") == HOST[[3, 7]]
    assert Codes.concatenate([codes[:3], codes[10:]]).to("cpu") == Codes.concatenate([HOST[:3], HOST[10:]])
    assert codes.to_bytes() == HOST.to_bytes()
    codes.save(tmp_path / "a.tq")
    assert Codes.load(tmp_path / "a.tq").to("cuda") == codes
    for again in (pickle.loads(pickle.dumps(codes)), copy.deepcopy(codes)):
        assert again.device == "cuda:0"
        assert again == codes
    index, other = Index(codec=Q), Index(codec=Q)
    index.add_codes(codes.to("cpu"))
    other.add_codes(HOST)
    assert same(index.search(X[:3], 5)[1], other.search(X[:3], 5)[1])


def test_no_rows(cp: ModuleType) -> None:
    codes = Q.encode(cp.asarray(X[:0]))
    assert (len(codes), codes.device) == (0, "cuda:0")
    assert Q.decode(codes).shape == (0, DIM)
    assert Q.score(cp.asarray(X[:2]), codes).shape == (2, 0)
    assert Q.score(cp.asarray(X[:0]), HOST.to("cuda")).shape == (0, N)
    assert len(codes.truncate(1)) == 0


def test_other_dtypes_and_strides(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 4 * DIM * 128)
    rows = np.repeat(X, 8, axis=0)
    assert Q.encode(cp.asarray(rows.astype(np.float64))).to("cpu") == Q.encode(rows)
    assert Q.encode(cp.asarray(np.ascontiguousarray(rows.T)).T).to("cpu") == Q.encode(rows)
    codes = HOST.to("cuda")
    assert same(Q.decode(codes[::-2]).get(), Q.decode(HOST[::-2]))
    assert codes[::2].truncate(1).to("cpu") == HOST[::2].truncate(1)
    half = X.astype(np.float16)
    assert same(Q.score(cp.asarray(half), codes[1::3]).get(), Q.score(half, HOST[1::3]))


def test_tensors(cp: ModuleType, torch: ModuleType) -> None:
    tensor = torch.Tensor(cp.asarray(X))
    codes = Q.encode(tensor)
    assert isinstance(codes.packed, cp.ndarray)
    scores = Q.score(tensor, codes)
    assert isinstance(scores, torch.Tensor)
    assert same(scores.cpu(), Q.score(X, HOST))


def test_everything_happens_on_the_array_s_own_gpu_and_stream(cp: ModuleType) -> None:
    with cp.cuda.Device(1):
        x = cp.asarray(X)
        with cp.cuda.Stream() as stream:
            CUDA.log.clear()
            codes = Q.encode(x)
            Q.decode(codes)
            Q.score(x, codes)
            codes.truncate(1)
    assert {(event.device, event.stream) for event in CUDA.log} == {(1, stream.ptr)}
    assert codes.device == "cuda:1"


def test_validation_waits_once_and_its_absence_never(cp: ModuleType) -> None:
    x, codes = cp.asarray(X), HOST.to("cuda")
    Q.encode(x)
    Q.score(x, codes)
    CUDA.log.clear()
    Q.encode(x)
    Q.score(x, codes)
    assert CUDA.count("sync") == 2
    CUDA.log.clear()
    Q.encode(x, validate=False)
    Q.score(x, codes, validate=False)
    Q.decode(codes)
    assert CUDA.count("sync") == 0


def test_tables_are_uploaded_once(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices too, once a GPU and stream; beyond what is kept the oldest go."""
    x, codes = cp.asarray(X), HOST.to("cuda")

    def everything() -> None:
        Q.encode(x)
        Q.score(x, codes)
        Q.decode(codes)

    everything()
    before = set(constants._uploaded)
    CUDA.log.clear()
    everything()
    assert set(constants._uploaded) == before
    assert CUDA.count("upload") == 2, "a buffer for faults a call that may refuse rows"
    monkeypatch.setattr(constants, "KEPT_BYTES", 0)
    monkeypatch.setattr(constants, "LATEST", 5)
    other = fitted_pair(random_parts(DIM, 8)).fast
    assert other.encode(x).to("cpu") == other.encode(X)
    assert len(constants._uploaded) == 5


def test_refine_chooses_other_tables(cp: ModuleType) -> None:
    """Codecs that differ in nothing else are equal, and still each has its own trials."""
    parts = random_parts(48, 2)
    x = mixed_rows(48, 1)
    for refine in (False, 8, 32, False):
        q = fitted_pair(parts, refine=refine).fast
        assert q.encode(cp.asarray(x)).to("cpu") == q.encode(x)


def test_errors_are_the_cpu_s(cp: ModuleType) -> None:
    codes = HOST.to("cuda")
    for value, where in ((np.nan, (7, 3)), (np.inf, (0, DIM - 1)), (3e38, (20, slice(None)))):
        x = X.copy()
        x[where] = value
        for call in (lambda x, _: Q.encode(x), Q.score):
            with pytest.raises(ValueError, match="must") as caught:
                call(x, HOST)
            refuses(lambda x=x, call=call: call(cp.asarray(x), codes), str(caught.value))  # type: ignore[misc]
    for bits in (0.01, 7.9):
        with pytest.raises(ValueError, match=r"^bits must be") as caught:
            HOST.truncate(bits)
        refuses(lambda bits=bits: codes.truncate(bits), str(caught.value))  # type: ignore[misc]
    codes.scales[5, 0] = np.inf
    refuses(lambda: codes.truncate(1), "scales must be finite, got inf at row 5")
    refuses(
        lambda: Q.score(X, codes),
        "queries must be on cuda:0, where the codes are, got numpy.ndarray on the CPU; move one: "
        'cupy.asarray(queries), or codes.to("cpu")',
    )


def test_too_little_memory(cp: ModuleType) -> None:
    rows = np.repeat(X, 100, axis=0)
    x, codes = cp.asarray(rows), Q.encode(rows).to("cuda")
    Q.encode(cp.asarray(X))
    Q.score(cp.asarray(X), codes[:4])
    before = codes.to_bytes()
    CUDA.memory = CUDA.used[0] + 2048
    calls = {
        "encoding 4,000 rows needs": lambda: Q.encode(x),
        "decoding 4,000 rows needs": lambda: Q.decode(codes),
        "scoring 4,000 queries against 4,000 codes needs": lambda: Q.score(x, codes),
        "truncating 4,000 rows needs": lambda: codes.truncate(1),
    }
    for text, call in calls.items():
        with pytest.raises(MemoryError, match=rf"^{text} [\d,]+ bytes on cuda:0, where 2,048 are free; ") as caught:
            call()
        del caught
        assert CUDA.used[0] == CUDA.memory - 2048, "what the call took is given back"
    CUDA.memory = 1 << 30
    assert codes.to_bytes() == before


def test_memory_is_what_the_errors_say(cp: ModuleType) -> None:
    """Beside tables, which are there already."""
    rows = np.repeat(X, 20, axis=0)
    x, codes = cp.asarray(rows), Q.encode(rows).to("cuda")
    for call in (lambda: Q.encode(x), lambda: Q.decode(codes), lambda: Q.score(x, codes)):
        call()
        before, memory = CUDA.used[0], CUDA.memory
        CUDA.reset()
        result = call()
        peak = CUDA.peak[0] - before
        del result
        CUDA.memory = before + 1
        with pytest.raises(MemoryError) as caught:
            call()
        said = int(str(caught.value).split("needs ")[1].split(" bytes")[0].replace(",", ""))
        del caught
        CUDA.memory = memory
        assert said <= peak <= said + 16 * 512, "each array is rounded up to 512 bytes"

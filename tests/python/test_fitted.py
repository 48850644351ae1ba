"""Fitted codecs from parts: what they say of themselves, what is kept and read back, what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fits import Parts, random_parts
from strategies import mixed_rows
from subject import refuses
from turboquant_rs import Codes, CorruptError, Index, TurboQuant
from turboquant_rs._device import describe

DIM = 48
X = np.random.default_rng(0).standard_normal((30, DIM)).astype(np.float32)


def parts_of(**changes: Any) -> Parts:
    """Return three segments of 24, 16 and 8 axes at 3, 2 and 1 bits, with a center; or changed."""
    base = random_parts(DIM, 1, center=True)
    segments, order = [(24, 3), (16, 2), (8, 1)], [0, 1, 0, 2, 0, 1]
    sigmas = np.array([0.2, 0.1, 0.05], np.float32)
    return base._replace(**{"segments": segments, "order": order, "sigmas": sigmas, **changes})


def codec(**changes: Any) -> TurboQuant:
    *parts, dual = parts_of(**changes)
    return TurboQuant._from_parts(*parts, seed=3, scale="matched", **dual)


def test_it_says_what_it_is() -> None:
    q = codec()
    assert q.fitted
    assert not TurboQuant(DIM, 2).fitted
    assert (q.dim, q.seed, q.scale, q.refine, q.rotation) == (DIM, 3, "matched", False, "hadamard")
    assert type(q.bits) is float
    assert q.bits == (24 * 3 + 16 * 2 + 8) / 48
    assert repr(q) == "TurboQuant(dim=48, bits=2.33333 fitted, axes=48, seed=3, scale='matched')"
    assert q.bytes_per_vector() == 9 + 4 + 1 + 4
    codes = q.encode(X)
    assert repr(codes) == "Codes(n=30, dim=48, bits=2.33333, 18.0 bytes per vector)"
    assert (codes.packed.shape, codes.scales.shape) == ((30, 14), (30, 1))
    index = Index(codec=q)
    index.add(X)
    assert repr(index) == "Index(dim=48, bits=2.33333, metric='ip', n=30, 38.0 bytes per vector)"


def test_nbytes_counts_the_matrices() -> None:
    # The transform is held as given, padded for rows and, transposed, for decoding: three times 48 · 48 int16 at least.
    assert codec().nbytes - TurboQuant(DIM, 2).nbytes > 3 * 2 * DIM * DIM


def test_equal_parts_make_equal_codecs() -> None:
    assert codec() == codec()
    assert hash(codec()) == hash(codec())
    parts = parts_of()
    assert parts.center is not None
    changed = parts.transform.copy()
    changed[3, 5] += 1
    longer = parts.center.copy()
    longer[0] = 1
    others = [
        codec(transform=changed),
        codec(center=longer),
        codec(center=None),
        codec(sigmas=np.array([0.2, 0.1, 0.06], np.float32)),
        codec(order=[1, 0, 0, 2, 0, 1]),
        codec(dual=random_parts(DIM, 1, dual=True).dual, sigmas=np.full(3, 0.2, np.float32)),
        TurboQuant(DIM, 2, seed=3, scale="matched"),
    ]
    assert len({q.fingerprint for q in [codec(), *others]}) == len(others) + 1
    assert all(codec() != other for other in others)
    with pytest.raises(ValueError, match=r"codes must come from this codec, TurboQuant\(dim=48, bits=2.33333 fitted"):
        codec().decode(others[0].encode(X))


@pytest.mark.parametrize("dual", [False, True])
def test_codecs_and_codes_are_kept_whole(dual: bool, tmp_path: Path) -> None:
    q = codec(dual=random_parts(DIM, 1, dual=True).dual, sigmas=np.full(3, 0.2, np.float32)) if dual else codec()
    codes = q.encode(X)
    for back in (
        pickle.loads(pickle.dumps(q)),
        TurboQuant.from_bytes(q.to_bytes()),
        TurboQuant.from_bytes(codes.to_bytes()),
    ):
        assert back == q
        assert back.encode(X) == codes
    q.save(tmp_path / "codec.tq")
    assert TurboQuant.load(tmp_path / "codec.tq") == q
    for version in (codes, codes.truncate(1), codes[:0]):
        assert Codes.from_bytes(version.to_bytes()) == version
        assert pickle.loads(pickle.dumps(version)) == version
        version.save(tmp_path / "codes.tq")
        assert (tmp_path / "codes.tq").read_bytes() == version.to_bytes()
        for mmap in (False, True):
            loaded = Codes.load(tmp_path / "codes.tq", mmap=mmap)
            assert loaded == version
            assert loaded.codec == q
        assert TurboQuant.load(tmp_path / "codes.tq") == q


def test_a_plain_codec_is_kept_too(tmp_path: Path) -> None:
    q = TurboQuant(20, 3, seed=5, refine=8)
    q.save(tmp_path / "q.tq")
    assert TurboQuant.load(tmp_path / "q.tq") == TurboQuant.from_bytes(q.to_bytes()) == q
    assert TurboQuant.load(tmp_path / "q.tq").refine == 8


def test_every_flipped_bit_of_the_codec_is_reported(tmp_path: Path) -> None:
    small = random_parts(9, 2, axes=5, center=True, dual=True)
    *parts, dual = small
    q = TurboQuant._from_parts(*parts, **dual)
    data = q.encode(mixed_rows(9, 0)).to_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(CorruptError):
            Codes.from_bytes(damaged)
    for length in range(len(data)):
        with pytest.raises(CorruptError):
            Codes.from_bytes(data[:length])
    (tmp_path / "x.tq").write_bytes(q.to_bytes()[:-70])
    with pytest.raises(CorruptError, match="codec section is cut short"):
        TurboQuant.load(tmp_path / "x.tq")


def test_any_number_of_bits() -> None:
    codes = codec().encode(X)
    # The units take 24, 16, 24, 8, 24 and 16 bits a row.
    for bits, found in (
        (Fraction(7, 3), 112),
        (2.1, 96),
        (2, 96),
        (1.5, 72),
        (Fraction(4, 3), 64),
        (np.float32(0.9), 40),
        (0.5, 24),
    ):
        assert codes.truncate(bits).bits == found / 48  # type: ignore[arg-type]
    assert codes.truncate(0.5).packed.shape[1] == 3
    assert codes.truncate(codes.bits) == codes
    short = codes.truncate(1)
    assert short.bits == 40 / 48
    assert short.truncate(1) == short.truncate(0.9) == short.truncate(short.bits) == short
    assert short.codec.bytes_per_vector(short.bits) == short.packed.shape[1] + 4
    with pytest.raises(ValueError, match="codes must be whole"):
        Index(codec=codec()).add_codes(short)
    whole = Index(codec=codec())
    whole.add_codes(codes)
    assert whole.plain_rows == 0


@pytest.mark.parametrize(
    ("bits", "message", "error"),
    [
        (0.3, "bits must be enough for the first unit, about 0.5, got 0.3", ValueError),
        (0, "bits must be above 0 and at most 8, got 0", ValueError),
        (0.01, "bits must be enough for the first unit, about 0.5, got 0.01", ValueError),
        (2.4, "bits must be at most what the codes hold, 2.33333, got 2.4", ValueError),
        (8, "bits must be at most what the codes hold, 2.33333, got 8", ValueError),
        (8.5, "bits must be above 0 and at most 8, got 8.5", ValueError),
        (float("nan"), "bits must be above 0 and at most 8, got nan", ValueError),
        ("2", "bits must be a number, got '2'", TypeError),
        (True, "bits must be a number, got True", TypeError),
    ],
)
def test_refused_bits(bits: Any, message: str, error: type[Exception]) -> None:
    codes = codec().encode(X)
    before = codes.to_bytes()
    refuses(lambda: codes.truncate(bits), message, error)
    refuses(lambda: codec().bytes_per_vector(bits), message, error)
    assert codes.to_bytes() == before


def test_cut_codes_do_not_grow() -> None:
    short = codec().encode(X).truncate(1)
    for bits in (1.4, 2, 2.1, 8):
        refuses(
            lambda bits=bits: short.truncate(bits), f"bits must be at most what the codes hold, 0.833333, got {bits}"
        )  # type: ignore[misc]


def test_less_than_a_unit_is_refused_though_it_fits_the_last_byte() -> None:
    codes = codec(segments=[(8, 3)], sigmas=np.ones(1, np.float32), order=[0] * 3, transform=parts_of().transform[:8])
    refuses(lambda: codes.encode(X).truncate(0.1), "bits must be enough for the first unit, about 0.166667, got 0.1")
    assert codes.encode(X).truncate(Fraction(1, 6)).packed.shape == (30, 1)  # type: ignore[arg-type]


def large(matrix: Any, axis: int, column: int) -> Any:
    result = matrix.copy()
    result[axis, column] = 32_500
    return result


FAULTS: list[tuple[Callable[[], object], str]] = [
    (lambda: codec(segments=[]), "segments must be between 1 and 255, got 0"),
    (
        lambda: codec(segments=[(24, 3), (16, 9), (8, 1)]),
        "segments must be of at least 1 axis and 1 to 8 bits, got 16 axes of 9 bits",
    ),
    (
        lambda: codec(segments=[(24, 2), (16, 3), (8, 1)]),
        "segments must be in non-increasing width, got 2 bits before 3",
    ),
    (lambda: codec(segments=[(24, 3), (16, 2), (9, 1)]), "segments must be of at most 48 axes together (dim), got 49"),
    (lambda: codec(segments=[(24, 3), (16, 2), (7, 1)]), "transform must be 47 rows of 48 values, got 2304 values"),
    (
        lambda: codec(transform=large(parts_of().transform, 2, 5)),
        "transform must be rows of norms up to 32200, got a larger one at axis 2",
    ),
    (lambda: codec(sigmas=np.ones(2, np.float32)), "sigmas must be one a segment (3), got 2"),
    (lambda: codec(sigmas=np.array([1, 0, 1], np.float32)), "sigmas must be between 2^-40 and 2, got 0 at 1"),
    (lambda: codec(sigmas=np.array([1, 1, np.nan], np.float32)), "sigmas must be between 2^-40 and 2, got NaN at 2"),
    (lambda: codec(center=np.ones(47, np.float32)), "center must be 48 values (dim), got 47"),
    (
        lambda: codec(center=np.full(48, 1e-30, np.float32)),
        "center must be 0 or between 2^-80 and 2^60 in magnitude, got 0.000000000000000000000000000001 at 0",
    ),
    (lambda: codec(order=[0, 1, 0, 2, 0]), "order must be each segment once a bit, got segment 1 1 times less"),
    (lambda: codec(order=[0, 1, 0, 2, 0, 0]), "order must be each segment once a bit, got 0 once more"),
    (lambda: codec(order=[0, 1, 0, 3, 0, 1]), "order must be each segment once a bit, got 3 once more"),
    (lambda: codec(order=[0, 1, 0, -1, 0, 1]), "order must name segments, 0 to 255, got -1 to 1"),
    (
        lambda: codec(dual={"dual": parts_of().transform}),
        "dual, row_gains and query_gains must be given together, got some of them",
    ),
    (
        lambda: TurboQuant._from_parts(*parts_of()[:-1], scale="paper"),
        'scale must be "unbiased", "mse" or "matched" for a fitted codec, got "paper"',
    ),
    (lambda: TurboQuant._from_parts(*parts_of()[:-1], refine=5), "refine must be 0 (off), 8, 16 or 32, got 5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_refused_parts(fault: int) -> None:
    refuses(*FAULTS[fault])


def test_refused_duals() -> None:
    dual = random_parts(DIM, 1, dual=True).dual
    sigmas = np.full(3, 0.2, np.float32)

    def with_dual(**changes: Any) -> Callable[[], object]:
        return lambda: codec(dual={**dual, **changes}, sigmas=sigmas)

    with_dual()()
    refuses(with_dual(dual=dual["dual"][:-1]), "dual must be 48 rows of 48 values, like transform, got 2256 values")
    refuses(
        with_dual(dual=large(dual["dual"], 0, 7)), "dual must be rows of norms up to 32200, got a larger one at axis 0"
    )
    refuses(with_dual(row_gains=np.ones(3, np.float32)), "row_gains must be one an axis (48), got 3")
    gains = np.where(np.arange(DIM) == 9, 0, 1).astype(np.float32)
    refuses(with_dual(query_gains=gains), "query_gains must be between 2^-40 and 2^40, got 0 at 9")
    gains = np.where(np.arange(DIM) == 9, 2.0**30, 1).astype(np.float32)
    message = "row_gains must be between 2^-24 and 2^24 when multiplied with the segment's sigma, got 1073741800 at 9"
    refuses(with_dual(row_gains=gains), message)


def test_refused_rows_are_named() -> None:
    q = codec()
    x = X.copy()
    x[4, 7] = np.nan
    refuses(lambda: q.encode(x), "x must be finite, got NaN at row 4, column 7")
    x = X.copy()
    x[6] = 3e38
    refuses(lambda: q.encode(x), "x must have norms within float32, got a larger one at row 6")


class OnCuda:
    """An array in a GPU's memory, as far as ``__cuda_array_interface__`` tells."""

    __cuda_array_interface__ = {"shape": (2, DIM), "typestr": "<f4", "data": (0xDEAD0000, False), "version": 3}  # noqa: RUF012


def test_arrays_on_a_gpu_get_advice_that_works() -> None:
    """As for a plain codec: either may move, and an index takes codes that were made there."""
    q, value = codec(), OnCuda()
    text = f"queries must be on the CPU, where the codes are, got a CUDA array ({describe(value)}); move one: "
    advice = 'codes.to("cuda"), or queries.get() in CuPy, queries.cpu() in PyTorch'
    refuses(lambda: q.score(value, q.encode(X)), text + advice)  # type: ignore[arg-type]
    text = f"x must be in host memory, where the index is, got a CUDA array ({describe(value)}); "
    text += 'encode them there and add the codes, index.add_codes(index.codec.encode(x).to("cpu")), or '
    advice = "copy it to the host: x.get() in CuPy, x.cpu() in PyTorch"
    refuses(lambda: Index(codec=q).add(value), text + advice, TypeError)  # type: ignore[arg-type]


def test_an_index_says_what_a_fitted_row_takes() -> None:
    """Bounds of the first stage, and numbers where some rows are plain."""
    x = np.random.default_rng(0).standard_normal((3_000, 64)) * np.arange(1, 65) ** -0.5
    for strange in (0, 200):
        index = Index.fit(x[:1_500], 2)
        base = np.concatenate([x[1_500:], np.random.default_rng(1).standard_normal((strange, 64))])
        index.add(base)
        before = index.nbytes
        index.add(base)
        told = float(repr(index).rsplit(", ", 1)[1].split()[0])
        assert told == (index.nbytes - before) / len(base)

"""Codes, scales, decoded vectors, truncations, bytes: the package equals the reference to the bit, at every level."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    EVERY_BITS,
    EVERY_DIM,
    KINDS,
    SCALES,
    Pair,
    assert_same,
    bits,
    differences,
    dims,
    matrices,
    mixed_rows,
    pair,
    refines,
    same,
    scales,
    seeds,
)
from turboquant_rs import TurboQuant, _arrays
from turboquant_rs.reference import Codes as ReferenceCodes
from turboquant_rs.reference import TurboQuant as Reference
from turboquant_rs.reference.index import squared_norm
from turboquant_rs.reference.units import stage_ends

Floats = np.ndarray[Any, np.dtype[np.float32]]

#: Kinds of the rows of the plain loop over all dimensions; the property tests take all kinds.
LOOP_KINDS = ("normal", "2-sparse", "tiny", "whole", "negative zero", "wide")


@cache
def _rotations(dim: int, seed: int) -> list[Any]:
    return Reference(dim, 1, seed=seed).rotations


@cache
def _expected(dim: int, width: int, refine: int | bool) -> tuple[ReferenceCodes, Floats, dict[int, ReferenceCodes]]:
    plain = Reference(dim, width, seed=dim, refine=refine)
    plain.rotations = _rotations(dim, dim)
    codes = plain.encode(mixed_rows(dim, seed=dim, kinds=LOOP_KINDS))
    return codes, plain.decode(codes), {end: plain.truncate(codes, end) for end in stage_ends(width)}


@pytest.mark.parametrize("refine", [False, 16])
def test_every_dimension_and_width(level: str, refine: int | bool) -> None:
    wrong = []
    for dim in EVERY_DIM:
        x = mixed_rows(dim, seed=dim, kinds=LOOP_KINDS)
        for width in EVERY_BITS:
            want, decoded, truncated = _expected(dim, width, refine)
            q = TurboQuant(dim, width, seed=dim, refine=refine)
            got = q.encode(x)
            found = differences(got, want)
            if not same(q.decode(got), decoded):
                found.append("decoded")
            found += [f"top {end} bits" for end, want in truncated.items() if differences(got.truncate(end), want)]
            if found:
                wrong.append(f"dim {dim}, bits {width}: {', '.join(found)}")
    assert not wrong, f"{len(wrong)} of {len(EVERY_DIM) * len(EVERY_BITS)} differ, the first: {wrong[:10]}"


@given(data=st.data(), dim=dims(), width=bits(), seed=seeds(), scale=scales(), refine=refines())
def test_any_codec_and_matrix(
    level: str, data: st.DataObject, dim: int, width: int, seed: int, scale: str, refine: int | bool
) -> None:
    q = pair(dim, width, seed=seed, scale=scale, refine=refine)
    x = data.draw(matrices(dim))
    got, want = q.fast.encode(x), q.plain.encode(x)
    assert_same(got, want)
    assert same(q.fast.decode(got), q.plain.decode(want))
    for end in stage_ends(width):
        shorter, expected = got.truncate(end), q.plain.truncate(want, end)
        assert_same(shorter, expected)
        assert same(q.fast.decode(shorter), q.plain.decode(expected))
        for last in stage_ends(width):
            if last < end:
                assert_same(shorter.truncate(last), q.plain.truncate(expected, last))


@given(data=st.data(), dim=dims(), unit_norm=st.booleans())
def test_squared_norms_and_unit_norm_scales(level: str, data: st.DataObject, dim: int, unit_norm: bool) -> None:
    """The two variants that an index stores: |x|² beside the codes (l2), and scales without the norm (cosine)."""
    kinds = tuple(kind for kind in KINDS if kind != "huge")  # l2 refuses norms from 2^63
    q = pair(dim, 3)
    x = mixed_rows(dim, data.draw(st.integers(0, 2**32 - 1)), kinds)
    got, squares = q.fast._encode(x, None, unit_norm=unit_norm, squares=True)
    assert_same(got, q.plain.encode(x, unit_norm=unit_norm))
    assert same(squares, squared_norm(x))


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_on_every_kind_of_row(level: str, scale: str) -> None:
    for dim in (1, 2, 3, 64, 97, 128, 1000):
        q = pair(dim, 4, seed=5, scale=scale)
        x = mixed_rows(dim, seed=dim)
        assert_same(q.fast.encode(x), q.plain.encode(x))


@pytest.mark.parametrize(("dim", "refine"), [(65_536, False), (65_535, False), (65_536, 8)])
def test_the_largest_dimensions(level: str, dim: int, refine: int | bool) -> None:
    x = mixed_rows(dim, seed=1, kinds=("normal", "sparse"))
    for width in (4, 5):
        q = pair(dim, width, refine=refine)
        got, want = q.fast.encode(x), q.plain.encode(x)
        assert_same(got, want)
        assert same(q.fast.decode(got), q.plain.decode(want))


def test_rows_beside_the_limits_of_float32(level: str) -> None:
    """Norms up to the largest float32 encode or are refused, as in the reference."""
    top = float(np.finfo(np.float32).max)
    outcomes = set()
    for scale in SCALES:
        q = pair(3, 2, scale=scale)
        for share in (0.4, 0.55, 0.577, 0.58, 0.9, 1.0):
            x = np.full((1, 3), share * top, np.float32)
            try:
                want = q.plain.encode(x)
            except ValueError:
                outcomes.add("refused")
                with pytest.raises(ValueError, match=r"x must have norms within float32, got a larger one at row 0"):
                    q.fast.encode(x)
            else:
                outcomes.add("encoded")
                assert_same(q.fast.encode(x), want)
    assert outcomes == {"encoded", "refused"}


# --- the same bytes, however the batch comes ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch() -> tuple[Pair, Floats, ReferenceCodes]:
    """2,600 rows: at three threads more than one task each, and no multiple of any block."""
    q = pair(97, 4, refine=8)
    x = np.concatenate([mixed_rows(97, seed=s) for s in range(200)])
    return q, x, q.plain.encode(x)


@pytest.mark.parametrize("threads", [None, 1, 2, 3])
def test_any_number_of_threads(level: str, batch: Any, threads: int | None) -> None:
    q, x, want = batch
    codes = q.fast.encode(x, threads=threads)
    assert_same(codes, want)
    assert same(q.fast.decode(codes, threads=threads), q.plain.decode(want))


@given(data=st.data())
def test_any_split_of_the_batch(batch: Any, data: st.DataObject) -> None:
    q, x, want = batch
    cuts = sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=6)))
    threads = data.draw(st.sampled_from([None, 1, 2, 3]))
    for first, last in zip([0, *cuts], [*cuts, len(x)], strict=True):
        assert_same(q.fast.encode(x[first:last], threads=threads), want[first:last])


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_any_block_of_the_conversion(batch: Any, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    q, x, want = batch
    monkeypatch.setattr(_arrays, "BLOCK_BYTES", 4 * 97 * rows)
    assert_same(q.fast.encode(x), want)
    assert_same(q.fast.encode(x.astype(np.float64)), want)
    assert_same(q.fast.encode(np.asfortranarray(x)), want)


def test_more_than_a_block_of_8_mib(batch: Any) -> None:
    q, x, want = batch
    copies = 10
    assert x.nbytes * copies > _arrays.BLOCK_BYTES
    codes = q.fast.encode(np.concatenate([x] * copies))
    for i in range(copies):
        part = codes[i * len(x) : (i + 1) * len(x)]
        assert same(part.packed, want.packed)
        assert same(part.scales, want.scales)
    decoded = q.fast.decode(codes)
    assert same(decoded[-len(x) :], q.plain.decode(want))


# --- the same bytes, whatever the array --------------------------------------------------------------------------

FLOATS = ("float16", "float32", "float64", "longdouble")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
EXTENSIONS = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4")


def _values(dtype: Any) -> np.ndarray[Any, Any]:
    numbers = np.random.default_rng(8).standard_normal((40, 33)) * 3
    if np.dtype(dtype).kind in "ub":
        numbers = np.abs(numbers)
    return numbers.astype(dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
@pytest.mark.parametrize("order", ["=", "<", ">"])
def test_any_dtype_and_byte_order(dtype: str, order: str) -> None:
    """A value means its float32 neighbour, whatever it is stored as. Booleans count as 0 and 1."""
    x = _values(dtype).astype(np.dtype(dtype).newbyteorder(order))
    q = pair(33, 4)
    assert_same(q.fast.encode(x), q.plain.encode(x.astype(np.float32)))


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extension_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = _values(np.float32).astype(getattr(ml_dtypes, name))
    q = pair(33, 4)
    assert_same(q.fast.encode(x), q.plain.encode(x.astype(np.float32)))
    assert same(
        q.fast.score(x[:2], q.fast.encode(x)),
        q.fast.score(x[:2].astype(np.float32), q.fast.encode(x.astype(np.float32))),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_any_memory_layout(dtype: str) -> None:
    q = pair(33, 4)
    base = _values(dtype)
    want = q.plain.encode(base.astype(np.float32))
    unaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(dtype).reshape(base.shape)
    frozen = base.copy()
    frozen.setflags(write=False)
    layouts = {
        "Fortran": np.asfortranarray(base),
        "every other row": np.repeat(base, 2, axis=0)[::2],
        "every third column": np.repeat(base, 3, axis=1)[:, ::3],
        "rows backwards": base[::-1].copy()[::-1],
        "columns backwards": base[:, ::-1].copy()[:, ::-1],
        "transposed": base.T.copy().T,
        "unaligned": unaligned,
        "read-only": frozen,
        "matrix": base.view(np.matrix),
        "lists": base.tolist(),
        "tuples": tuple(map(tuple, base.tolist())),
        "rows in a list": list(base),
    }
    for name, x in layouts.items():
        codes = q.fast.encode(x)
        assert differences(codes, want) == [], name
        assert same(q.fast.score(x, codes), q.fast.score(base, codes)), name


def test_one_row_shown_many_times() -> None:
    q = pair(33, 4)
    x = np.broadcast_to(_values("float32")[:1], (50, 33))
    assert x.strides[0] == 0
    assert_same(q.fast.encode(x), q.plain.encode(x.copy()))


@pytest.mark.parametrize("dim", [1, 8, 97])
def test_no_rows(level: str, dim: int) -> None:
    q = pair(dim, 4)
    x = np.empty((0, dim), np.float32)
    got = q.fast.encode(x)
    assert got.packed.shape == (0, q.plain.encode(np.ones((1, dim), np.float32)).packed.shape[1])
    assert q.fast.decode(got).shape == (0, dim)
    assert_same(got.truncate(2), q.plain.truncate(q.plain.encode(x), 2))
    assert_same(got, q.plain.encode(x))
    assert same(q.fast.decode(got), q.plain.decode(q.plain.encode(x)))

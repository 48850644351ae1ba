"""What codes do outside of kernels takes nothing but the array API: it runs on its strictest implementation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import bits, dims, matrices, scales
from turboquant_rs import Codes, TurboQuant, _truncate
from turboquant_rs.reference.units import stage_ends

xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")

X = np.random.default_rng(0).standard_normal((40, 24)).astype(np.float32)
Q = TurboQuant(24, 4)
HOST = Q.encode(X)


def strict(codes: Codes) -> Codes:
    """Return the same codes in arrays that refuse whatever the standard does not have."""
    return Codes(xp.asarray(codes.packed), xp.asarray(codes.scales), codes.codec, codes.bits)


def plain(codes: Codes) -> Codes:
    """Return codes of such arrays as NumPy's."""
    assert type(codes.packed) is type(codes.scales) is type(xp.asarray(1))
    assert (codes.packed.dtype, codes.scales.dtype) == (xp.uint8, xp.float32)
    return Codes(np.asarray(codes.packed), np.asarray(codes.scales), codes.codec, codes.bits)


@pytest.fixture(params=["2022.12", "2023.12", "2024.12"], autouse=True)
def version(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run under every version of the standard that CuPy may stand at."""
    with xp.ArrayAPIStrictFlags(api_version=request.param):
        yield request.param


@pytest.mark.parametrize(
    "rows",
    [slice(3, 9), slice(None, None, -2), 5, -1, [0, 7, 7, -1], [], np.arange(40) % 3 == 0, np.array([5], np.uint8)],
    ids=str,
)
def test_selection(rows: Any) -> None:
    assert plain(strict(HOST)[rows]) == HOST[rows]


def test_joining_comparing_measuring() -> None:
    codes = strict(HOST)
    assert plain(Codes.concatenate([codes[:3], codes[10:]])) == Codes.concatenate([HOST[:3], HOST[10:]])
    assert codes == strict(HOST)
    assert codes != strict(HOST[::-1])
    assert (len(codes), codes.nbytes, codes.device, repr(codes)) == (40, HOST.nbytes, "cpu", repr(HOST))


@given(data=st.data(), scale=scales())
def test_truncation_is_the_core_s_to_the_bit(data: st.DataObject, scale: Any) -> None:
    dim, width = data.draw(dims(largest=300)), data.draw(bits())
    host = TurboQuant(dim, width, scale=scale).encode(data.draw(matrices(dim)))
    top, then = (data.draw(st.sampled_from(stage_ends(width))) for _ in range(2))
    assert plain(strict(host).truncate(top)) == host.truncate(top)
    if then < top:
        assert plain(strict(host).truncate(top).truncate(then)) == host.truncate(top).truncate(then)


def test_truncation_does_not_depend_on_blocks() -> None:
    codes = strict(HOST)
    for block in (1, 24 * 7, 24 * 40, 1 << 30):
        packed, factors = _truncate.truncate(codes.packed, codes.scales, 24, 4, 4, 2, "unbiased", block)
        assert plain(Codes(packed, factors, Q, 2)) == HOST.truncate(2)
    assert plain(codes[:0].truncate(2)) == HOST[:0].truncate(2)


@pytest.mark.parametrize("scale", ["unbiased", "mse", "matched", "paper"])
def test_truncated_scales_below_the_smallest_normal_number_are_zero(scale: Any) -> None:
    codes = TurboQuant(24, 4, scale=scale).encode(X)
    codes.scales[:] = (2.0**-126 * np.linspace(1, 1.2, 40, dtype=np.float32))[:, None]
    host = codes.truncate(1)
    assert plain(strict(codes).truncate(1)) == host
    assert (scale == "mse") == bool((host.scales == 0).any()), "the case occurs where scales shrink"


def test_truncation_refuses_what_the_core_refuses() -> None:
    for bits_ in (3, 8):
        with pytest.raises(ValueError, match=r"^bits must be ") as caught:
            HOST.truncate(bits_)
        with pytest.raises(ValueError, match=r"^bits must be ") as again:
            strict(HOST).truncate(bits_)
        assert str(again.value) == str(caught.value)
    damaged = HOST.scales.copy()
    damaged[7] = np.inf
    both = Codes(HOST.packed, damaged, Q, 4)
    with pytest.raises(ValueError, match=r"^scales must be finite, got inf at row 7$"):
        both.truncate(2)
    with pytest.raises(ValueError, match=r"^scales must be finite, got inf at row 7$"):
        strict(both).truncate(2)

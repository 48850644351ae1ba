"""QJL, TurboQuantProd and PolarQuant as a user meets them: arguments, codes, bytes, identity."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from subject import refuses
from turboquant_rs import QJL, Codes, CorruptError, Index, PaperCodes, PolarQuant, TurboQuant, TurboQuantProd
from turboquant_rs.reference import polar as reference_polar

X = np.random.default_rng(0).standard_normal((50, 32)).astype(np.float32)
MAKERS: list[Any] = [
    lambda **options: QJL(32, 48, **options),
    lambda **options: TurboQuantProd(32, 3, **options),
    lambda **options: TurboQuantProd(32, 1, projection="hadamard", **options),
    lambda **options: PolarQuant(32, **options),
]


@pytest.mark.parametrize("make", MAKERS)
def test_codes_are_codes(make: Any, tmp_path: Path) -> None:
    q = make()
    codes = q.encode(X)
    assert isinstance(codes, Codes)
    assert isinstance(codes, PaperCodes)
    assert len(codes) == 50
    assert codes.dim == 32
    assert codes.packed.dtype == np.uint8
    assert codes.scales.dtype == np.float32
    assert codes.nbytes == 50 * q.bytes_per_vector()
    part = codes[3:7]
    assert len(part) == 4
    assert np.array_equal(q.decode(part), q.decode(codes)[3:7])
    assert np.array_equal(q.score(X[0], codes[-1]), q.score(X[:1], codes)[0, -1:])
    assert PaperCodes.concatenate([codes[:20], codes[20:]]) == codes
    assert PaperCodes.from_bytes(codes.to_bytes()) == codes
    assert Codes.from_bytes(codes.to_bytes()) == codes
    assert pickle.loads(pickle.dumps(codes)) == codes
    codes.save(tmp_path / "codes.tq")
    assert PaperCodes.load(tmp_path / "codes.tq") == codes
    assert Codes.load(tmp_path / "codes.tq") == codes
    text = f"codes must have stages to be truncated, got codes of {q!r}; encode anew instead"
    refuses(lambda: codes.truncate(1), text)
    assert codes.to("cpu") is codes
    assert codes.device == "cpu"
    text = 'device must be "cpu", "cuda" or "cuda:0", "cuda:1" …, got \'gpu\''
    refuses(lambda: codes.to("gpu"), text)


@pytest.mark.parametrize("make", MAKERS)
def test_identity(make: Any) -> None:
    q = make(seed=3)
    assert q == make(seed=3)
    assert q != make(seed=4)
    assert hash(q) == hash(make(seed=3))
    assert q.fingerprint == make(seed=3).fingerprint != make(seed=4).fingerprint
    assert pickle.loads(pickle.dumps(q)) == q
    assert copy.deepcopy(q) == q
    assert eval(repr(q)) == q
    with pytest.raises(AttributeError, match="immutable"):
        q.seed = 5
    refuses(
        lambda: make(seed=4).decode(q.encode(X)),
        f"codes must come from this codec, {make(seed=4)!r} with fingerprint {make(seed=4).fingerprint:016x}; "
        f"got codes of {q!r} with {q.fingerprint:016x}",
    )


@pytest.mark.parametrize("make", MAKERS)
def test_any_array(make: Any) -> None:
    q = make()
    want = q.encode(X)
    for x in (X.astype(np.float64), X[::-1][::-1], np.asfortranarray(X), X.tolist(), X.astype(">f4")):
        assert q.encode(x) == want
    assert q.score(X[0], want).shape == (50,)
    assert q.score(X[:2].tolist(), want).shape == (2, 50)
    empty = q.encode(np.empty((0, 32)))
    assert len(empty) == 0
    assert q.decode(empty).shape == (0, 32)
    assert q.score(X, empty).shape == (50, 0)
    assert PaperCodes.from_bytes(empty.to_bytes()) == empty


@pytest.mark.parametrize("make", MAKERS)
def test_faulty_rows(make: Any) -> None:
    q = make()
    bad = X.copy()
    bad[7, 3] = np.nan
    refuses(lambda: q.encode(bad), "x must be finite, got NaN at row 7, column 3")
    refuses(lambda: q.score(bad, q.encode(X)), "queries must be finite, got NaN at row 7, column 3")
    refuses(lambda: q.encode(X[:, :31]), "x must have 32 columns (the codec's dim), got 31")
    refuses(lambda: q.encode(X[0]), "x must be a 2-D array (n, 32), got 1-D with shape (32,)")
    refuses(lambda: q.encode(q.encode(X)), "x must be vectors, got Codes; decode them first", TypeError)
    refuses(lambda: q.decode(X), "codes must be Codes, got ndarray", TypeError)
    text = f"codec must be a TurboQuant, got {type(q).__name__}; PaperIndex(codec, metric) searches its codes"
    refuses(lambda: Index(codec=q), text, TypeError)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="codes must come from this codec"):
        q.decode(TurboQuant(32).encode(X))
    with pytest.raises(ValueError, match="codes must come from this codec"):
        TurboQuant(32).decode(q.encode(X))


def test_faulty_arguments() -> None:
    refuses(lambda: QJL(0, 8), "dim must be between 1 and 4096, got 0")
    refuses(lambda: QJL(4097, 8), "dim must be between 1 and 4096, got 4097")
    refuses(lambda: QJL(8, 0), "sketch_dim must be between 1 and 16384, got 0")
    refuses(lambda: QJL(8, 8.0), "sketch_dim must be an integer, got 8.0 (float)", TypeError)  # type: ignore[arg-type]
    names = '"gaussian", "orthogonal", "hadamard"'
    refuses(lambda: QJL(8, 8, projection="haar"), f"projection must be {names}, got 'haar'")  # type: ignore[arg-type]
    refuses(lambda: TurboQuantProd(8, 9), "bits must be between 1 and 8, got 9")
    refuses(lambda: TurboQuantProd(65_537, 2, projection="hadamard"), "dim must be between 1 and 65536, got 65537")
    refuses(lambda: PolarQuant(100), "dim must be a multiple of 16 (2**levels), got 100")
    refuses(lambda: PolarQuant(100, 2), "bits must have 2 entries, one a level, got (4, 2, 2, 2)")
    refuses(lambda: PolarQuant(100, 2, (4, 9)), "bits must be between 1 and 8, got 9")
    refuses(lambda: PolarQuant(100, 17), "levels must be between 1 and 16, got 17")
    text = "bits must be a sequence of 2 integers, one a level, got 4"
    refuses(lambda: PolarQuant(100, 2, 4), text, TypeError)  # type: ignore[arg-type]
    refuses(lambda: PolarQuant(100, 2, (4, 2), seed=-1), "seed must be at least 0, got -1")
    radii = '"float16", "float32"'
    refuses(lambda: PolarQuant(16, radius="bf16"), f"radius must be {radii}, got 'bf16'")  # type: ignore[arg-type]


def test_radii_beyond_their_format() -> None:
    x = X * np.float32(1e5)
    text = r"x must have norms that keep radii within float16 \(65,504\), got a larger one"
    with pytest.raises(ValueError, match=text):
        PolarQuant(32).encode(x)
    q = PolarQuant(32, radius="float32")
    scaled = q.encode(x)
    assert np.array_equal(q.encode(X).packed[:, 8:], scaled.packed[:, 8:]), "angles do not depend on the norm"
    assert q.radii(scaled).shape == (50, 2)


@pytest.mark.parametrize("make", MAKERS)
def test_damage_is_reported(make: Any) -> None:
    data = make().encode(X[:3]).to_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << (at % 8)
        for read in (PaperCodes.from_bytes, Codes.from_bytes):
            with pytest.raises(CorruptError):
                read(damaged)
    for size in (0, 5, 6, 71, 72, 127, 128, len(data) - 1):
        with pytest.raises(CorruptError):
            PaperCodes.from_bytes(data[:size])


def test_the_bytes_of_turboquant_are_no_paper_codes() -> None:
    with pytest.raises(CorruptError, match="TQPAPR"):
        PaperCodes.from_bytes(TurboQuant(32).encode(X).to_bytes())


def test_one_bit_of_prod_is_qjl() -> None:
    """Algorithm 2 at b = 1 has 0 bits for its first stage; what it sketches is the vector itself."""
    for projection in ("gaussian", "orthogonal", "hadamard"):
        prod = TurboQuantProd(32, 1, projection=projection, seed=9)  # type: ignore[arg-type]
        qjl = QJL(32, 32, projection=projection, seed=9)  # type: ignore[arg-type]
        a, b = prod.encode(X), qjl.encode(X)
        assert np.array_equal(a.packed, b.packed)
        assert np.array_equal(a.scales, b.scales)
        assert np.array_equal(prod.score(X, a), qjl.score(X, b))
        assert np.array_equal(prod.decode(a), qjl.decode(b))


def test_prod_starts_with_the_codes_of_turboquant() -> None:
    for bits in range(2, 9):
        codes = TurboQuantProd(32, bits, seed=2).encode(X)
        coarse = TurboQuant(32, bits - 1, seed=2, scale="paper").encode(X)
        assert np.array_equal(codes.packed[:, : coarse.packed.shape[1]], coarse.packed)
        assert np.array_equal(codes.scales[:, 0], coarse.scales[:, 0])
        residual = np.linalg.norm(X - TurboQuant(32, bits - 1, seed=2, scale="paper").decode(coarse), axis=1)
        # Float32 rotations lose a few units of 2^-24 of |x|.
        assert np.allclose(codes.scales[:, 1], residual, atol=1e-5)


def test_scores_are_products_with_decoded_rows() -> None:
    """Up to the rounding of queries to integers: under 8e-4·|q||x| of standard deviation for each of 2,500 scores."""
    for make in MAKERS:
        q = make()
        codes = q.encode(X)
        exact = X.astype(np.float64) @ q.decode(codes).T.astype(np.float64)
        size = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(q.decode(codes), axis=1)
        assert (np.abs(q.score(X, codes) - exact) / size).max() < 6 * 8e-4 * np.sqrt(128 / 32)


@pytest.mark.parametrize("radius", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.inf, np.nan, -np.inf, -1.0, -0.0])
def test_radii_that_no_encoder_writes_are_refused(radius: Any, value: float) -> None:
    """One bad radius must neither zero the rows beside it nor pass in silence."""
    q, reference = PolarQuant(32, radius=radius), reference_polar.PolarQuant(32, radius=radius)
    codes, specified = q.encode(X), reference.encode(X)
    width = 2 if radius == "float16" else 4
    bad = np.array([value], f"<f{width}")
    packed = codes.packed.copy()
    packed[40, width : 2 * width] = bad.view(np.uint8)
    shown = {"inf": "inf", "nan": "NaN", "-inf": "-inf", "-1.0": "-1", "-0.0": "-0"}[str(value)]
    text = f"packed must be rows with finite radii that are not negative, got {shown} at row 40"
    refuses(lambda: PaperCodes(packed, codes.scales, q), text)
    codes.packed[:] = packed
    for use in (lambda: q.decode(codes), lambda: q.score(X, codes), codes.to_bytes):
        refuses(use, text)
    with pytest.raises(ValueError, match="packed must be rows with finite radii that are not negative"):
        replace(specified, packed=packed)
    good = specified.to_bytes()
    specified.packed[:] = packed
    for call in (lambda: reference.decode(specified), lambda: reference.score(X, specified)):
        with pytest.raises(ValueError, match="packed must be rows with finite radii that are not negative"):
            call()
    # The reference's writer does not look at radii, so its file has right checksums.
    data = specified.to_bytes()
    assert len(data) == len(good)
    text = f"damaged code bytes: no codes: {text}, section starts at byte 128"
    refuses(lambda: PaperCodes.from_bytes(data), text, CorruptError)


def test_parts_that_are_no_codes() -> None:
    plain, q = TurboQuant(32, 4), QJL(32, 48)
    codes, whole = q.encode(X), plain.encode(X)
    packed, scales = codes.packed, codes.scales
    make: Any = PaperCodes
    text = "codec must be a QJL, TurboQuantProd or PolarQuant, got "
    refuses(lambda: make(whole.packed, whole.scales, plain), text + "TurboQuant", TypeError)
    refuses(lambda: make(q, packed, scales), text + "ndarray", TypeError)
    refuses(lambda: make([[1]], scales, q), "packed must be an array of uint8, got list", TypeError)
    refuses(lambda: make(packed, [[1.0]], q), "scales must be an array of float32, got list", TypeError)
    text = "packed must be an array of uint8, got dtype int8"
    refuses(lambda: make(packed.view(np.int8), scales, q), text, TypeError)
    text = "scales must be an array of float32, got dtype float64"
    refuses(lambda: make(packed, scales.astype(float), q), text, TypeError)
    refuses(lambda: make(packed[:, :5], scales, q), "packed must have the shape (n, 6), got (50, 5)")
    refuses(lambda: make(packed[0], scales, q), "packed must have the shape (n, 6), got (6,)")
    refuses(lambda: make(packed, scales[:, 0], q), "scales must have the shape (n, 1), got (50,)")
    text = "scales must have a row for each of 50 packed rows, got 49"
    refuses(lambda: make(packed, scales[1:], q), text)
    damaged = scales.copy()
    damaged[7] = np.nan
    refuses(lambda: make(packed, damaged, q), "scales must be finite, got NaN at row 7")
    for kind in MAKERS:
        made = kind().encode(X)
        assert PaperCodes(made.packed, made.scales, kind()) == made
        assert PaperCodes(made.packed[::2], made.scales[::2], kind()) == made[::2]


def test_parts_to_join() -> None:
    codes: Any = QJL(32, 48).encode(X)
    refuses(lambda: PaperCodes.concatenate([]), "parts must hold at least one PaperCodes, got none")
    refuses(lambda: PaperCodes.concatenate([codes, 3]), "parts must be PaperCodes, got int at 1", TypeError)  # type: ignore[list-item]
    text = "parts must be PaperCodes, got Codes at 0"
    refuses(lambda: PaperCodes.concatenate([TurboQuant(32).encode(X)]), text, TypeError)
    assert PaperCodes.concatenate(part for part in (codes[:3], codes[3:])) == codes  # type: ignore[arg-type]
    assert isinstance(Codes.concatenate([codes]), PaperCodes)

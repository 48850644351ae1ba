"""Bytes of format version 0, kept from before version 1 was frozen: package and reference read them as today's.

rust/core/tests/version_0.rs holds the crate to the same files, and says how their rows are made.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import same
from turboquant_rs import QJL, Codes, CorruptError, Index, PolarQuant, TurboQuant, TurboQuantProd
from turboquant_rs.reference import Codes as ReferenceCodes
from turboquant_rs.reference.index_file import read_index
from turboquant_rs.reference.paper_codes import PaperCodes as ReferencePaperCodes

FOLDER = Path(__file__).parents[2] / "rust" / "core" / "tests" / "data" / "v0"

if not FOLDER.is_dir():
    pytest.skip("no source tree here", allow_module_level=True)


def rows(n: int, dim: int, start: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return rows of which every third has its energy behind the first eight coordinates."""
    x = ((np.arange(start, start + n * dim) * 37 % 101 - 50) / np.float32(16)).astype(np.float32).reshape(n, dim)
    small = (np.arange(n)[:, None] % 3 == 1) == (np.arange(dim) < 8)
    return np.where(small, x / np.float32(1024), x)


def plain() -> TurboQuant:
    return TurboQuant(24, 4, seed=7)


def fitted() -> TurboQuant:
    transform = 32_000 * np.eye(8, 32, dtype=np.int16)
    return TurboQuant._from_parts(None, transform, np.array([0.35], np.float32), [(8, 6)], [0] * 6)


CODECS: dict[str, Callable[[], Any]] = {
    "plain": plain,
    "cut": plain,
    "dense": lambda: TurboQuant(24, 3, rotation="dense", scale="mse"),
    "split": lambda: TurboQuant(24, (4, 2), outliers=(1, 5, 20)),
    "fitted": fitted,
    "qjl": lambda: QJL(16, 40),
    "prod": lambda: TurboQuantProd(16, 3),
    "polar": lambda: PolarQuant(16, radius="float32"),
}


def reader(data: bytes) -> Any:
    """Return the codes in the bytes as the reference reads them."""
    return (ReferencePaperCodes if data.startswith(b"TQPAPR") else ReferenceCodes).from_bytes(data)


@pytest.mark.parametrize("name", CODECS)
def test_codes(name: str) -> None:
    path = FOLDER / f"{name}.tq"
    codec = CODECS[name]()
    made = codec.encode(rows(5, codec.dim))
    if name == "cut":
        made = made.truncate(2)
    read = Codes.load(path)
    assert (read, read.codec, read.fingerprint) == (made, codec, codec.fingerprint)
    if isinstance(codec, TurboQuant):
        assert Codes.load(path, mmap=True) == made
    queries = rows(2, codec.dim, 3)
    assert same(codec.score(queries, read), codec.score(queries, made))
    plainly = reader(path.read_bytes())
    assert same(plainly.packed, made.packed)
    assert same(plainly.scales, made.scales)
    # Both write version 1, the same bytes.
    assert plainly.to_bytes() == read.to_bytes() == made.to_bytes()
    assert made.to_bytes()[6:8] == b"\x01\x00"


@pytest.mark.parametrize("codec", [plain(), fitted()], ids=["plain", "fitted"])
def test_codecs(codec: TurboQuant) -> None:
    read = TurboQuant.load(FOLDER / ("plain.tqc" if codec == plain() else "fitted.tqc"))
    assert (read, hash(read), read.fingerprint) == (codec, hash(codec), codec.fingerprint)
    assert read.encode(rows(5, codec.dim)) == codec.encode(rows(5, codec.dim))


@pytest.mark.parametrize("name", ["plain", "fitted"])
def test_index_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / "index.tqi"
    shutil.copy(FOLDER / f"{name}.tqi", path)
    codec = CODECS[name]()
    made = Index(codec=codec, metric="l2" if name == "plain" else "cosine")
    made.add(rows(70, codec.dim))
    made.add(rows(5, codec.dim, 9))
    made.remove([3, 64])
    index = Index.open(path)

    def check() -> None:
        queries = rows(3, codec.dim, 11)
        want = made.search(queries, 9)
        for found in (index.search(queries, 9), read_index(path.read_bytes()).search(queries, 9)):
            assert np.array_equal(found[0], want[0])
            assert np.array_equal(found[1], want[1])

    check()
    for each in (index, made):
        each.add(rows(9, codec.dim, 5))
    index.commit()
    assert path.read_bytes()[1542:1544] == bytes(2), "the codec stays as it was"
    check()
    index.save(path)
    assert path.read_bytes() == made.to_bytes()
    check()


def test_version_2_is_refused() -> None:
    for name in ("plain.tq", "fitted.tqc", "qjl.tq"):
        data = bytearray((FOLDER / name).read_bytes())
        data[6] = 2
        with pytest.raises(CorruptError, match="code bytes have format version 2, this build reads version 1; update"):
            Codes.from_bytes(data)
        with pytest.raises(ValueError, match="format version 2; this reader knows 1"):
            reader(bytes(data))
    data = bytearray((FOLDER / "plain.tqi").read_bytes())
    data[1542] = 2
    data[16:20] = struct.pack("<I", zlib.crc32(data[1536:1600]))
    data[28:32] = struct.pack("<I", zlib.crc32(data[:28]))
    with pytest.raises(CorruptError, match="code bytes have format version 2"):
        Index.from_bytes(data)
    with pytest.raises(ValueError, match="format version 2"):
        read_index(bytes(data))

"""Codes as a container: views, selection, sizes, bytes, files, pickles, equality."""

from __future__ import annotations

import copy
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import bits, matrices, pair, refines, same, scales, seeds
from subject import refuses
from turboquant_rs import Codes, CorruptError, PolarQuant, TurboQuant
from turboquant_rs.reference import Codes as ReferenceCodes

N, DIM = 40, 24


@pytest.fixture(scope="module")
def q() -> TurboQuant:
    return TurboQuant(DIM, 4, seed=3, scale="mse", refine=8)


@pytest.fixture
def codes(q: TurboQuant) -> Codes:
    return q.encode(np.random.default_rng(0).standard_normal((N, DIM)))


# --- attributes --------------------------------------------------------------------------------------------------


def test_arrays_and_sizes(q: TurboQuant, codes: Codes) -> None:
    assert codes.packed.shape == (N, DIM // 2)
    assert codes.packed.dtype == np.uint8
    assert codes.scales.shape == (N, 1)
    assert codes.scales.dtype == np.float32
    assert (len(codes), codes.dim, codes.bits) == (N, DIM, 4)
    assert codes.codec is q
    assert codes.fingerprint == q.fingerprint
    assert codes.nbytes == N * (12 + 4)
    assert codes.bits_per_dim == 8 * 16 / DIM
    assert codes[:0].nbytes == 0
    assert codes[:0].bits_per_dim == 0.0


@pytest.mark.parametrize("dim", [1, 7, 8, 9, 97, 1000])
def test_bytes_a_row_are_the_units_rounded_up(dim: int) -> None:
    units = {
        1: [1],
        2: [1, 1],
        3: [1, 2],
        4: [1, 1, 2],
        5: [1, 1, 2, 1],
        6: [1, 1, 2, 2],
        7: [1, 1, 2, 1, 2],
        8: [1, 1, 2, 4],
    }
    for width, parts in units.items():
        codes = TurboQuant(dim, width).encode(np.ones((2, dim)))
        assert codes.packed.shape[1] == sum(-(-dim * part // 8) for part in parts)
        for kept in {1, 2, 4} & {sum(parts[:i]) for i in range(1, len(parts))}:
            if (width, kept) != (3, 2):
                short = codes.truncate(kept)
                assert short.bits == kept
                kept_parts = [p for i, p in enumerate(parts) if sum(parts[: i + 1]) <= kept]
                assert short.packed.shape[1] == sum(-(-dim * part // 8) for part in kept_parts)
                assert np.array_equal(short.packed, codes.packed[:, : short.packed.shape[1]])


def test_repr(q: TurboQuant, codes: Codes) -> None:
    assert repr(codes) == f"Codes(n=40, dim={DIM}, bits=4, 16.0 bytes per vector)"
    assert repr(codes[:0]) == f"Codes(n=0, dim={DIM}, bits=4, 16.0 bytes per vector)"
    assert repr(codes.truncate(1)) == f"Codes(n=40, dim={DIM}, bits=1, 7.0 bytes per vector)"
    assert repr(q) == f"TurboQuant(dim={DIM}, bits=4, seed=3, scale='mse', refine=8)"
    assert repr(TurboQuant(5)) == "TurboQuant(dim=5, bits=4)"
    assert eval(repr(q), {"TurboQuant": TurboQuant}) == q


# --- selection ---------------------------------------------------------------------------------------------------

SLICES = [slice(None), slice(3, 9), slice(None, None, 3), slice(None, None, -1), slice(5, 5), slice(-4, None)]


@pytest.mark.parametrize("rows", SLICES, ids=str)
def test_slices_are_views(codes: Codes, rows: slice) -> None:
    part = codes[rows]
    assert same(part.packed, codes.packed[rows])
    assert same(part.scales, codes.scales[rows])
    assert len(part) == len(range(N)[rows])
    if len(part):
        assert np.shares_memory(part.packed, codes.packed)
        assert np.shares_memory(part.scales, codes.scales)
    again = part[1:]
    assert same(again.packed, codes.packed[rows][1:])


@pytest.mark.parametrize(
    "rows",
    [[0, 7, 7, -1], [], (np.arange(N) % 3 == 0), np.array([5], np.uint8), [True] * N, np.zeros(N, bool)],
    ids=lambda rows: f"{type(rows).__name__}-{len(rows)}",
)
def test_arrays_select_as_in_numpy(codes: Codes, rows: Any) -> None:
    part = codes[rows]
    at = np.arange(N)[np.asarray(rows, None if len(rows) else int)]
    assert len(part) == len(at)
    assert same(part.packed, codes.packed[at])
    assert same(part.scales, codes.scales[at])
    assert not np.shares_memory(part.packed, codes.packed)


@pytest.mark.parametrize("row", [0, 5, N - 1, -1, -N, np.int32(7), np.uint64(8)])
def test_an_integer_gives_one_row(codes: Codes, row: int) -> None:
    part = codes[row]
    assert len(part) == 1
    assert same(part.packed[0], codes.packed[int(row)])
    assert same(part.scales[0], codes.scales[int(row)])


@pytest.mark.parametrize("row", [N, -N - 1, 10**30])
def test_rows_out_of_range(codes: Codes, row: int) -> None:
    with pytest.raises(IndexError, match=rf"^row {row} is out of range for {N} codes$"):
        codes[row]
    with pytest.raises(IndexError, match=rf"^row {N} is out of range for {N} codes$"):
        codes[[0, N]]
    with pytest.raises(IndexError, match=rf"^a mask must have one entry for each of {N} codes, got 2$"):
        codes[[True, False]]


@pytest.mark.parametrize("rows", ["a", 1.5, None, ..., [1.5], [[0, 1]], True, (0, 1), (slice(None), 0)], ids=str)
def test_what_is_no_selection(codes: Codes, rows: Any) -> None:
    with pytest.raises((IndexError, TypeError), match=r"^(rows must be an integer, a slice|codes take one index)"):
        codes[rows]


def test_codes_are_iterable_a_row_at_a_time(codes: Codes) -> None:
    rows = list(codes)
    assert len(rows) == N
    assert all(len(row) == 1 for row in rows)
    assert Codes.concatenate(rows) == codes


def test_selected_rows_decode_and_score_alike(q: TurboQuant, codes: Codes) -> None:
    rows = [7, 3, 3, -1]
    assert same(q.decode(codes[rows]), q.decode(codes)[rows])
    queries = np.eye(DIM, dtype=np.float32)
    assert same(q.score(queries, codes[rows]), q.score(queries, codes)[:, rows])
    backwards = codes[::-2]
    assert not backwards.packed.flags.c_contiguous
    assert same(q.decode(backwards), q.decode(codes)[::-2])
    assert same(q.score(queries, backwards), q.score(queries, codes)[:, ::-2])
    assert backwards.to_bytes() == codes[np.arange(N)[::-2]].to_bytes()
    assert backwards.truncate(2) == codes.truncate(2)[::-2]


def test_concatenate(q: TurboQuant, codes: Codes) -> None:
    whole = Codes.concatenate([codes[:5], codes[5:5], codes[5:]])
    assert whole == codes
    assert not np.shares_memory(whole.packed, codes.packed)
    assert Codes.concatenate(iter([codes])) == codes  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^parts must hold at least one Codes, got none$"):
        Codes.concatenate([])
    with pytest.raises(TypeError, match=r"^parts must be Codes, got ndarray at 1$"):
        Codes.concatenate([codes, codes.packed])  # type: ignore[list-item]
    for other in (codes.truncate(2), TurboQuant(DIM, 4, seed=4).encode(np.ones((1, DIM)))):
        with pytest.raises(ValueError, match=r"^parts must come from one codec with the same bits, got another at 1"):
            Codes.concatenate([codes, other])


# --- bytes, files, pickles ---------------------------------------------------------------------------------------


@given(data=st.data(), dim=st.integers(1, 70), width=bits(), seed=seeds(), scale=scales(), refine=refines())
def test_bytes_round_trip_and_the_reference_reads_them(
    data: st.DataObject, dim: int, width: int, seed: int, scale: str, refine: int | bool
) -> None:
    q = pair(dim, width, seed=seed, scale=scale, refine=refine).fast
    codes = q.encode(data.draw(matrices(dim)))
    for version in (codes, codes[:0], codes.truncate(1)):
        packed = version.to_bytes()
        back = Codes.from_bytes(packed)
        assert back == version
        assert back.to_bytes() == packed
        assert (back.codec, back.codec.refine, back.bits) == (q, q.refine, version.bits)
        assert back.packed.flags.writeable
        plain = ReferenceCodes.from_bytes(packed)
        assert same(plain.packed, version.packed)
        assert same(plain.scales, version.scales)
        assert plain.to_bytes() == packed


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
def test_any_bytes(codes: Codes, kind: Any) -> None:
    assert Codes.from_bytes(kind(codes.to_bytes())) == codes


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("rows", [0, 1, N])
@pytest.mark.parametrize("kept", [4, 2, 1])
def test_files(tmp_path: Path, codes: Codes, rows: int, kept: int, mmap: bool) -> None:
    part = codes[:rows].truncate(kept)
    for path in (tmp_path / "a.tq", str(tmp_path / "b.tq")):
        part.save(path)
        assert Path(path).read_bytes() == part.to_bytes()
        loaded = Codes.load(path, mmap=mmap)
        assert loaded == part
        assert loaded.codec == codes.codec
        assert type(loaded.scales) is np.ndarray
        if mmap and rows:
            assert isinstance(loaded.packed, np.memmap)
            assert not loaded.packed.flags.writeable
        else:
            assert type(loaded.packed) is np.ndarray
            assert loaded.packed.flags.writeable
        assert same(codes.codec.decode(loaded), codes.codec.decode(part))
        assert codes.codec.score(np.ones(DIM), loaded).shape == (rows,)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tq", "b.tq"}, "no temporary file is left"


def test_saving_over_a_file_that_is_mapped(tmp_path: Path, codes: Codes) -> None:
    """The old file lives on under the map; its name belongs to the new one."""
    path = tmp_path / "codes.tq"
    codes.save(path)
    old = Codes.load(path, mmap=True)
    codes[::-1].save(path)
    assert old == codes
    assert Codes.load(path) == codes[::-1]


def test_a_saved_file_has_the_usual_mode(tmp_path: Path, codes: Codes) -> None:
    (tmp_path / "other").touch()
    codes.save(tmp_path / "codes.tq")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("other", "codes.tq")}
    assert len(modes) == 1


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, codes: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "codes.tq"
    codes.save(path)

    def fails(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        codes[:3].save(path)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["codes.tq"]
    assert Codes.load(path) == codes
    with pytest.raises(FileNotFoundError):
        codes.save(tmp_path / "none" / "codes.tq")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        codes.save(tmp_path / "folder")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(q: TurboQuant, codes: Codes, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(codes, protocol)) == codes
    assert pickle.loads(pickle.dumps(codes[1:1].truncate(1), protocol)) == codes[1:1].truncate(1)
    back = pickle.loads(pickle.dumps(q, protocol))
    assert back == q
    assert back.refine == 8
    assert same(back.encode(np.ones((2, DIM))).packed, q.encode(np.ones((2, DIM))).packed)
    assert len(pickle.dumps(q, protocol)) < 200, "a codec is its parameters"


def test_a_damaged_pickle_is_refused(codes: Codes) -> None:
    data = bytearray(pickle.dumps(codes))
    data[len(data) // 2] ^= 1
    with pytest.raises(CorruptError):
        pickle.loads(bytes(data))


def test_copies(q: TurboQuant, codes: Codes) -> None:
    for made in (copy.copy(codes), copy.deepcopy(codes)):
        assert made == codes
        made.packed[0, 0] ^= 1
        assert made != codes
        made.packed[0, 0] ^= 1
    assert copy.deepcopy(q) == q
    assert copy.copy(q) == q


# --- equality ----------------------------------------------------------------------------------------------------


def test_equality_of_codes(codes: Codes) -> None:
    assert codes == codes[:]
    assert codes != codes[:-1]
    assert codes != codes.truncate(2)
    assert codes != "codes"
    for other in (TurboQuant(DIM, 4, seed=4, scale="mse"), TurboQuant(DIM, 4, seed=3)):
        assert codes != Codes(codes.packed, codes.scales, other, 4)
    assert codes[:0] != codes[:0].truncate(2), "other bits"
    changed = copy.deepcopy(codes)
    changed.scales[3] *= 2
    assert codes != changed
    with pytest.raises(TypeError, match="unhashable"):
        hash(codes)


def test_codes_are_no_array(codes: Codes) -> None:
    """NumPy, asked first or second, leaves a comparison to Codes, and codes are not encoded by mistake."""
    assert codes != codes.packed
    assert codes.packed != codes
    with pytest.raises(TypeError, match=r"^x must "):
        codes.codec.encode(codes)  # type: ignore[arg-type]


def test_equality_of_codecs() -> None:
    """What decides the meaning of codes decides equality and fingerprint; ``refine`` only chooses among codes."""
    one = TurboQuant(9, 3)
    others = [
        TurboQuant(10, 3),
        TurboQuant(9, 4),
        TurboQuant(9, 3, seed=1),
        *(TurboQuant(9, 3, scale=s) for s in ("mse", "matched", "paper")),  # type: ignore[arg-type]
    ]
    assert len({one, *others}) == len({one.fingerprint, *(o.fingerprint for o in others)}) == 7
    again = TurboQuant(9, 3, refine=16)
    assert (again, hash(again), again.fingerprint) == (one, hash(one), one.fingerprint)
    assert one != 9
    assert same(again.decode(one.encode(np.ones((1, 9)))), one.decode(one.encode(np.ones((1, 9)))))


def test_seeds_differ() -> None:
    x = np.random.default_rng(0).standard_normal((1, 64))
    seen = {TurboQuant(64, 8, seed=s).encode(x).packed.tobytes() for s in [*range(200), 2**32, 2**63, 2**64 - 1]}
    assert len(seen) == 203


def test_a_codec_cannot_be_changed() -> None:
    q = TurboQuant(9, 3)
    for name in ("dim", "bits", "seed", "scale", "rotation", "refine"):
        with pytest.raises(AttributeError):
            setattr(q, name, 4)
    assert repr(q) == "TurboQuant(dim=9, bits=3)"


def test_numpy_makes_no_array_of_codes() -> None:
    codes = TurboQuant(8).encode(np.ones((2, 8)))
    for each in (codes, PolarQuant(16).encode(np.ones((2, 16)))):
        for call in (np.asarray, np.array, lambda c: np.asarray([c, c]), lambda c: np.asarray(c, np.float32)):
            with pytest.raises(TypeError, match=r"^codes are not an array; codes\.packed has their bytes, "):
                call(each)


def test_a_target_that_cannot_be_written_is_named_itself(tmp_path: Path) -> None:
    """The message has the folder or the target, never the temporary file."""
    q = TurboQuant(8)
    (tmp_path / "file").write_bytes(b"")
    cases: list[tuple[Path, type[OSError], str]] = [
        (tmp_path / "none" / "a", FileNotFoundError, f"the folder {tmp_path / 'none'} does not exist; create it first"),
        (tmp_path, IsADirectoryError, f"{tmp_path} is a folder; name a file in it"),
    ]
    for path, error, message in cases:
        for save in (q.save, q.encode(np.ones((2, 8))).save):
            with pytest.raises(error) as caught:
                save(path)
            assert caught.value.strerror == message
            assert ".part" not in str(caught.value)
    with pytest.raises((NotADirectoryError, FileNotFoundError), match=r"the folder .*file does not exist"):
        q.save(tmp_path / "file" / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_refuses_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / ".a.x.part"))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(PermissionError) as caught:
        TurboQuant(8).save(tmp_path / "a")
    message = f"the folder {tmp_path} cannot be written; choose another, or change its permissions"
    assert caught.value.strerror == message
    assert caught.value.filename is None


# --- the constructor ---------------------------------------------------------------------------------------------


def test_parts_that_are_no_codes(codes: Codes) -> None:
    packed, scales, q = codes.packed, codes.scales, codes.codec
    make: Any = Codes
    assert make(packed, scales, q, 4) == codes
    assert make(packed[:, :6], scales, q, 2).bits == 2
    refuses(lambda: make([[1]], scales, q, 4), "packed must be an array of uint8, got list", TypeError)
    refuses(lambda: make(packed, 1.0, q, 4), "scales must be an array of float32, got float", TypeError)
    refuses(lambda: make(packed, scales, PolarQuant(32), 4), "codec must be a TurboQuant, got PolarQuant", TypeError)
    refuses(lambda: make(q, packed, scales, 4), "codec must be a TurboQuant, got ndarray", TypeError)
    text = "packed must be an array of uint8, got dtype uint16"
    refuses(lambda: make(packed.astype(np.uint16), scales, q, 4), text, TypeError)
    text = "scales must be an array of float32, got dtype >f4"
    refuses(lambda: make(packed, scales.astype(">f4"), q, 4), text, TypeError)
    width = packed.shape[1]
    text = f"packed must have the shape (n, {width}), got (40, {width - 1})"
    refuses(lambda: make(packed[:, 1:], scales, q, 4), text)
    refuses(lambda: make(packed, scales[:, 0], q, 4), "scales must have the shape (n, 1), got (40,)")
    text = "scales must have a row for each of 40 packed rows, got 1"
    refuses(lambda: make(packed, scales[:1], q, 4), text)
    refuses(lambda: make(packed, scales, q, 5), "bits must be between 1 and 4, got 5")

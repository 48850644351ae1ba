"""Index files from Python: saving, committing, opening, verifying, pickles; what is refused and how."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fits import mixed_rows_of, random_parts
from strategies import METRICS, same
from turboquant_rs import CorruptError, Index, TurboQuant

Rows = np.ndarray[Any, np.dtype[np.float32]]
each_metric = pytest.mark.parametrize("metric", METRICS)


def rows(n: int, dim: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).standard_normal((n, dim), np.float32)


def filled(metric: str = "ip", n: int = 500, dim: int = 32, bits: int = 4, ids: Any = None) -> Index:
    index = Index(dim, bits, metric)  # type: ignore[arg-type]
    index.add(rows(n, dim), ids)
    return index


def fitted(metric: str) -> Index:
    """An index of a fitted codec, some of whose rows are plain codes."""
    parts = random_parts(32, 3, axes=12)
    index = Index(codec=TurboQuant._from_parts(*parts[:5]), metric=metric)  # type: ignore[arg-type]
    index.add(mixed_rows_of(parts, 400))
    assert 0 < index.plain_rows < 400
    return index


def assert_same(one: Index, other: Index) -> None:
    assert (one.codec, one.metric, len(one), repr(one)) == (other.codec, other.metric, len(other), repr(other))
    assert np.array_equal(one.ids, other.ids)
    queries = rows(12, one.dim, 99)
    for some in (queries, queries[0]):
        for k in (1, 10, len(one) + 1):
            assert all(map(same, one.search(some, k), other.search(some, k)))
    assert same(one.reconstruct(one.ids[::3]), other.reconstruct(other.ids[::3]))


@each_metric
@pytest.mark.parametrize("batch", [1, 200])
def test_few_rows_are_added_as_many_are(metric: str, batch: int) -> None:
    """Few values take a way of their own into the index; the bytes of a file are the same."""
    parts = random_parts(32, 3, axes=12)
    codecs = (TurboQuant._from_parts(*parts[:5]), TurboQuant(32, 4), TurboQuant(32, 3, rotation="dense", refine=8))
    x, ids = mixed_rows_of(parts, 400), np.random.default_rng(1).permutation(400)
    for codec, keep in ((codecs[0], None), (codecs[1], None), (codecs[1], "int8"), (codecs[2], None)):
        whole, index = (Index(codec=codec, metric=metric, keep=keep) for _ in range(2))  # type: ignore[arg-type]
        whole.add(x, ids)
        for first in range(0, 400, batch):
            part = slice(first, first + batch)
            assert same(index.add(x[part], ids[part]), ids[part])
        if keep is None:
            assert index.to_bytes() == whole.to_bytes()
        else:
            assert all(map(same, index.search(x, 400, rescore=1), whole.search(x, 400, rescore=1)))


@each_metric
@pytest.mark.parametrize("mmap", [False, True])
def test_an_opened_index_is_the_saved_one(tmp_path: Path, metric: str, mmap: bool) -> None:
    for i, index in enumerate([filled(metric), filled(metric, ids=np.arange(500)[::-1]), fitted(metric)]):
        for path in (tmp_path / f"{i}.tqi", str(tmp_path / f"{i}.text")):
            index.save(path)
            opened = Index.open(path, mmap=mmap)
            opened.verify()
            assert_same(index, opened)
            assert opened.nbytes == index.nbytes
        assert_same(index, Index.from_bytes(index.to_bytes()))
        assert_same(index, Index.from_bytes(memoryview(bytearray(index.to_bytes()))))


def test_commits_append(tmp_path: Path) -> None:
    path = tmp_path / "index.tqi"
    index = filled("l2", n=3)
    index.save(path)
    saved = path.read_bytes()
    before = Index.open(path)
    for seed in range(3):
        index.add(rows(2, 32, seed))
        index.commit()
        assert_same(index, Index.open(path))
    assert len(before) == 3
    assert path.read_bytes()[1536 : len(saved)] == saved[1536:], "what was written stays; only records change"
    index.commit()
    size = path.stat().st_size
    index.save(path)
    assert_same(index, Index.open(path))
    assert path.stat().st_size < size, "saving puts commits together"


def test_an_opened_index_takes_more(tmp_path: Path) -> None:
    path = tmp_path / "index.tqi"
    index = filled("cosine", n=20_000, dim=64)
    index.save(path)
    for mmap in (True, False):
        opened = Index.open(path, mmap)
        again = copy.copy(index)
        for part in (opened, again):
            part.add(rows(70, 64, 5), ids=np.arange(70) * 2 + 10**6)
            with pytest.raises(ValueError, match="got 1000002 a second time"):
                part.add(rows(1, 64), ids=[1000002])
        assert_same(opened, again)
    opened.commit()
    assert_same(Index.open(path), again)


def test_copies_and_pickles_belong_to_no_file(tmp_path: Path) -> None:
    index = fitted("l2")
    index.save(tmp_path / "index.tqi")
    for twin in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert_same(index, twin)
        twin.add(rows(1, 32))
        with pytest.raises(FileNotFoundError, match="save the index first"):
            twin.commit()
    assert len(index) == 400


def test_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "index.tqi"
    first, second = filled(n=3), filled(n=4)
    first.save(path)
    first.add(rows(1, 32))
    first.commit()
    with pytest.raises(BlockingIOError, match="one writer at a time"):
        second.save(path)
    script = f"""
import numpy as np, turboquant_rs
index = turboquant_rs.Index.open({str(path)!r})
index.add(np.ones((1, 32), np.float32))
try:
    index.commit()
except BlockingIOError as error:
    print(len(index), "refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "5 refused" in done.stdout, done
    del first
    second.save(path)
    assert len(Index.open(path)) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_no_writer(tmp_path: Path) -> None:
    script = f"""
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import numpy as np, turboquant_rs
index = turboquant_rs.Index(8)
index.add(np.eye(8))
index.save({str(tmp_path / "index.tqi")!r})
index.add(np.ones((1, 8)))
index.commit()
index.add(np.ones((1, 8)))
child = os.fork()
if child == 0:
    try:
        index.commit()
    except BlockingIOError as error:
        os._exit(7 if "forked" in str(error) else 8)
    os._exit(9)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
index.commit()
print(code, len(turboquant_rs.Index.open({str(tmp_path / "index.tqi")!r})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["7", "10"], done


def test_refusals(tmp_path: Path) -> None:
    index = filled(n=2)
    with pytest.raises(FileNotFoundError) as caught:
        Index.open(tmp_path / "none.tqi")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "none.tqi"))
    with pytest.raises(FileNotFoundError, match=r"cannot be written: No such file.*nowhere"):
        index.save(tmp_path / "nowhere" / "index.tqi")
    for call in (Index.open, index.save):
        with pytest.raises(IsADirectoryError, match="folder"):
            call(tmp_path)
        with pytest.raises(TypeError):
            call(5)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="save the index first"):
        index.commit()
    with pytest.raises(TypeError, match="data must be bytes"):
        Index.from_bytes(5)  # type: ignore[arg-type]
    codes = tmp_path / "codes.tq"
    index.codec.encode(rows(3, 32)).save(codes)
    for path in (codes, Path(__file__)):
        with pytest.raises(CorruptError, match="no index file"):
            Index.open(path)
    with pytest.raises(CorruptError):
        Index.from_bytes(b"")
    assert list(tmp_path.iterdir()) == [codes]


def test_damage_is_reported_with_section_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "index.tqi"
    filled(n=20_000, dim=96).save(path)
    data = bytearray(path.read_bytes())
    at = len(data) - 100_000  # in the ids or scales
    data[at] ^= 4
    path.write_bytes(data)
    index = Index.open(path)
    pattern = r"damaged index file: .*(ids|scales) fail a checksum, block starts at byte (\d+)"
    for call in (index.verify, lambda: index.search(rows(1, 96)), lambda: index.save(tmp_path / "copy.tqi")):
        with pytest.raises(CorruptError, match=pattern):
            call()
    with pytest.raises(CorruptError, match=r"index\.tqi: "):
        Index.open(path, mmap=False)
    data[at] ^= 4
    data[-8] ^= 4  # the largest id
    path.write_bytes(data)
    index = Index.open(path)
    for call in (lambda: 3 in index, lambda: index.ids, lambda: index.add(rows(1, 96)), lambda: index.filter([2])):
        with pytest.raises(CorruptError, match=r"damaged index file: ids fail a checksum"):
            call()
    assert len(index) == 20_000
    data[6] = 9
    with pytest.raises(CorruptError, match="index file has format version 9, this build reads version 1"):
        Index.from_bytes(data)
    assert list(tmp_path.iterdir()) == [path], "damage is not saved under new checksums"


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("n", [50, 30_000])
def test_several_files_are_one_index(tmp_path: Path, mmap: bool, n: int) -> None:
    paths, parts, first = [tmp_path / f"{i}.tqi" for i in range(3)], [], 0
    for i, path in enumerate(paths):
        part = Index(32, 4, "l2", keep="int8")
        part.add(rows(n if i else 7, 32, i), np.arange(n if i else 7) + first)
        first += len(part)
        part.remove(part.ids[1::9])
        part.save(path)
        part.upsert(rows(2, 32, i), part.ids[:2])
        part.commit()
        parts.append(part)
    merged, opened = Index.merge(parts), Index.open(paths, mmap=mmap)
    assert_same(merged, opened)
    queries = rows(5, 32, 9)
    assert all(map(same, merged.search(queries, 4, rescore=3), opened.search(queries, 4, rescore=3)))
    allowed = merged.ids[::3]
    assert all(map(same, merged.search(queries, 4, filter=allowed), opened.search(queries, 4, filter=allowed)))
    with pytest.raises(FileNotFoundError, match="save the index first"):
        opened.commit()
    opened.save(tmp_path / "all.tqi")
    back = Index.open(tmp_path / "all.tqi")
    back.verify()
    assert_same(merged, back)
    for index in (merged, opened):
        assert index.add(rows(1, 32)).tolist() == [first]
        index.compact()
    assert_same(merged, opened)


def test_several_files_of_string_ids(tmp_path: Path) -> None:
    a, b = Index(32), Index(32)
    a.add(rows(3, 32), ["a", "b", "c"])
    b.add(rows(3, 32), ["d", "b", "e"])
    a.remove("b")
    for index, name in ((a, "a.tqi"), (b, "b.tqi")):
        index.save(tmp_path / name)
    both = Index.open([tmp_path / "a.tqi", tmp_path / "b.tqi"])
    assert list(both) == ["a", "c", "d", "b", "e"]
    wanted = Index.merge([a, b]).search(rows(4, 32, 1), 6)
    for one, other in zip(both.search(rows(4, 32, 1), 6), wanted, strict=True):
        assert one.tolist() == other.tolist()


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    names, made = ["a", "codec", "metric", "keep", "ids", "names"], {}
    makers = [Index(32), Index(32, 3), Index(32, metric="l2"), Index(32, keep="int8"), Index(32), Index(32)]
    for name, index in zip(names, makers, strict=True):
        index.add(rows(2, 32), ["a", "b"] if name == "names" else None if name == "ids" else [5, len(made) + 10])
        made[name] = tmp_path / f"{name}.tqi"
        index.save(made[name])
    start = r"paths must be index files of one codec, metric and keep, with distinct ids of one kind, got .*{}\.tqi: {}"
    for name, text in [
        ("codec", "codes must come from this codec"),
        ("metric", 'other must be an index of the same metric, "ip", got "l2"'),
        ("keep", "other must be an index that keeps the same originals, none, got int8"),
        ("a", "ids must be new and distinct, got 5 a second time"),
        ("names", "ids must be integers, as those of the index's rows are, got strings"),
    ]:
        with pytest.raises(ValueError, match=start.format(name, text)):
            Index.open([made["a"], made[name]])
    assert len(Index.open((made["a"], made["ids"]))) == 4
    with pytest.raises(ValueError, match="paths must be at least one path, got none"):
        Index.open([])


@pytest.mark.parametrize("mmap", [False, True])
def test_a_reader_sees_what_a_writer_committed(tmp_path: Path, mmap: bool) -> None:
    for writer in (filled("l2", n=20_000, dim=64), filled("ip", n=9, dim=64), fitted("cosine")):
        path = tmp_path / f"{len(writer)}.tqi"
        writer.save(path)
        reader = Index.open(path, mmap=mmap)
        kept = reader.filter([0, 2])
        for step in range(4):
            writer.add(rows(9 + step, writer.dim, step))
            writer.remove(writer.ids[-3:-1])
            assert not reader.refresh()
            writer.commit()
            assert (reader.refresh(), reader.refresh()) == (True, False)
            assert_same(writer, reader)
        assert len(kept) == 2
        assert set(reader.search(rows(1, writer.dim), 3, filter=kept)[1][0].tolist()) == {0, 2, -1}
        writer.compact()
        writer.commit()
        assert reader.refresh()
        assert_same(writer, reader)
        with pytest.raises(ValueError, match="before the index was compacted"):
            reader.search(rows(1, writer.dim), filter=kept)
        assert not writer.refresh(), "nobody else writes"
        reader.add(rows(1, writer.dim))
        with pytest.raises(OSError, match="refresh needs an index without changes of its own"):
            reader.refresh()
    other = tmp_path / "other.tqi"
    Index(8).save(other)
    reader = Index.open(other)
    Index(9).save(other)
    with pytest.raises(OSError, match="is an index of another codec, metric or keep now"):
        reader.refresh()
    with pytest.raises(FileNotFoundError, match="refresh needs one file"):
        Index(8).refresh()


def test_readers_go_on_while_a_writer_appends_and_saves(tmp_path: Path) -> None:
    path = tmp_path / "index.tqi"
    index = filled(n=10, dim=16)
    index.save(path)
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            opened = Index.open(path)
            seen.add(len(opened))
            assert np.array_equal(opened.ids, np.arange(len(opened)))
            assert opened.search(rows(1, 16), 3)[1].max() < len(opened)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for i in range(60):
            index.add(rows(3, 16, i))
            index.commit() if i % 20 else index.save(path)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert seen <= {10 + 3 * i for i in range(61)}
    assert len(Index.open(path)) == 190

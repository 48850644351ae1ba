"""Rows that come and go: ids of integers and of strings, kept vectors and exact scores, merges, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import METRICS, same
from subject import DIM, Subject, X, refuses
from turboquant_rs import Index, SearchStats, TurboQuant

Rows = np.ndarray[Any, np.dtype[np.float32]]
KEEPS = ("float32", "float16", "bfloat16", "int8")


def rows(n: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).standard_normal((n, DIM), np.float32)


def test_ids_are_in_the_index_or_not() -> None:
    index = Index(DIM)
    index.add(rows(3), [5, 1, 2**63 - 1])
    assert all(row_id in index for row_id in (5, np.int64(1), np.uint8(5), 2**63 - 1))
    assert not any(row_id in index for row_id in (0, -1, True, 5.0, "5", None, 2**63, 2**70, [5]))
    assert list(index) == [5, 1, 2**63 - 1]
    assert all(type(row_id) is int for row_id in index)


def test_a_removed_id_is_free_but_not_assigned_again() -> None:
    index = Index(DIM)
    index.add(rows(4))
    index.remove(3)
    assert index.add(rows(1)).tolist() == [4]
    assert index.add(rows(1), [3]).tolist() == [3]
    assert list(index) == [0, 1, 2, 4, 3]
    index.remove([0, 0, 4, 2, 1, 3])
    assert (len(index), list(index), index.info()["removed"]) == (0, [], 0)
    assert index.add(rows(1)).tolist() == [5]


def test_info() -> None:
    index = Index(DIM, 2, "l2", keep="int8")
    index.add(rows(100), range(100, 0, -1))
    index.remove(range(1, 11))
    codes = 100 * (DIM // 4 + 4 + 4 + 4) + index.codec.nbytes + 2 * 8  # codes, scales, bounds, squares, removed places
    want = {"codes": codes, "ids": 800 + 2 * 8, "originals": 100 * (DIM + 4), "id_map": index.info()["bytes"]["id_map"]}
    want |= {"device": 0, "pinned": 0}
    assert index.info() == {
        "n": 90,
        "removed": 10,
        "dim": DIM,
        "bits": 2,
        "metric": "l2",
        "keep": "int8",
        "string_ids": False,
        "plain_rows": 0,
        "device": "cpu",
        "bytes": want,
    }
    assert want["id_map"] > 0, "ids do not ascend"
    assert index.nbytes == sum(want.values()) - want["id_map"]
    index.compact()
    assert index.info()["bytes"]["originals"] == 90 * (DIM + 4)


def test_a_refused_removal_removes_nothing() -> None:
    subject = Subject()
    refuses(lambda: subject.index.remove([0, 3, 4]), "'ids must be in the index, got 4'", KeyError, subject)
    refuses(lambda: subject.index.remove("a"), "'ids must be in the index, got \"a\"'", KeyError, subject)
    refuses(
        lambda: subject.index.remove([1.5]), "ids must be integers or strings, got dtype float64", TypeError, subject
    )
    refuses(
        lambda: subject.index.upsert(X[:2], [9, 9]),
        "ids must be new and distinct, got 9 a second time",
        ValueError,
        subject,
    )
    nan = X[:2] * np.array([[1], [np.nan]], np.float32)
    refuses(
        lambda: subject.index.upsert(nan, [0, 3]), "x must be finite, got NaN at row 1, column 0", ValueError, subject
    )


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda ids: np.array(ids, object)])
def test_string_ids(kind: Callable[[list[str]], Any]) -> None:
    index = Index(DIM, 8, "l2")
    x = rows(6)
    names = ["b", "", "a", "ä", "a longer one", "c"]
    given = index.add(x, kind(names))
    assert given.dtype == object
    assert given.tolist() == names == list(index) == index.ids.tolist()
    scores, ids = index.search(x[2], 8)
    assert ids.dtype == object
    assert ids[0] == "a"
    assert ids[6:].tolist() == [None, None]
    assert np.isinf(scores[6:]).all()
    assert index.search(x[:2], 1)[1].tolist() == [["b"], [""]]
    assert same(index.reconstruct("ä"), index.reconstruct(["b", "ä"])[1])
    assert "ä" in index
    assert 0 not in index, "the integers inside are nobody's business"
    index.upsert(x[5:], ["b"])
    assert index.search(x[5], 2)[1].tolist() == ["c", "b"], "equal scores in the order of adding"
    index.remove("c")
    index.remove(["", "a longer one"])
    assert list(index) == ["a", "ä", "b"]
    assert index.info()["string_ids"] is True
    with pytest.raises(ValueError, match="ids must be strings, as those of the index's rows are, got none"):
        index.add(x)
    with pytest.raises(KeyError, match="got 2"):
        index.remove(2)


def test_results_of_an_index_of_strings_that_is_empty_again() -> None:
    index = Index(DIM)
    index.add(rows(1), ["a"])
    index.remove("a")
    assert index.search(rows(2), 2)[1].tolist() == [[None, None], [None, None]]
    assert index.ids.tolist() == []


# --- exact scores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_rescoring_with_everything_is_brute_force(metric: Any) -> None:
    x, queries = rows(300), rows(20, 1)
    index = Index(DIM, 1, metric, keep="float32")
    index.add(x)
    scores, ids = index.search(queries, 7, rescore=300)
    a, b = queries.astype(float), x.astype(float)
    truth = a @ b.T
    if metric == "cosine":
        truth /= np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    if metric == "l2":
        truth = -((a[:, None] - b) ** 2).sum(axis=2)
    order = np.argsort(-truth, axis=1)[:, :7]
    assert np.array_equal(ids, order)
    sign = -1 if metric == "l2" else 1
    want = (sign * np.take_along_axis(truth, order, axis=1)).astype(np.float32)
    # The truth's own sums may end on the other side of a midpoint between two floats.
    assert (np.abs(scores - want) <= np.spacing(np.abs(want))).all()


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_of_the_caller_score_as_kept_ones(metric: Any) -> None:
    x, queries = rows(500), rows(30, 1)
    kept, codes = Index(DIM, 2, metric, keep="float32"), Index(DIM, 2, metric)
    kept.add(x)
    codes.add(x)
    asked: list[Any] = []

    def fetch(ids: Any) -> Rows:
        asked.append(ids)
        return x[ids]

    for k, factor in [(10, 4), (3, 1), (600, 2)]:
        want = kept.search(queries, k, rescore=factor)
        for source in (x, x.astype(np.float64), fetch):
            for a, b in zip(want, codes.search(queries, k, rescore=factor, rescore_from=source), strict=True):
                assert same(a, b)
    assert all(len(set(ids.tolist())) == len(ids) for ids in asked), "each id once a block"
    one = codes.search(queries[0], 5, rescore=4, rescore_from=x)
    assert same(one[1], kept.search(queries, 5, rescore=4)[1][0])
    named = Index(DIM, 2, metric)
    named.add(x, [f"row {i}" for i in range(500)])
    found = named.search(queries, 9, rescore=4, rescore_from=lambda ids: x[[int(i[4:]) for i in ids]])
    assert found[1].tolist() == [[f"row {i}" for i in row] for row in kept.search(queries, 9, rescore=4)[1].tolist()]


def test_what_cannot_be_rescored_is_refused() -> None:
    subject = Subject()
    search = subject.index.search

    def refused(message: str, error: type[Exception] = ValueError, **options: Any) -> None:
        refuses(lambda: search(X[:2], 3, **options), message, error, subject)

    refused(
        "rescore must be None, since this index keeps no vectors, got 4; make it with "
        '`keep="float16"`, or pass the vectors as rescore_from',
        rescore=4,
    )
    refused("rescore must be at least 1, got 0", rescore=0)
    refused("rescore must be an integer, got True", TypeError, rescore=True)
    refused("rescore must be given with rescore_from, got None", rescore_from=X)
    large = np.zeros((200, DIM), np.float32)
    refused("rescore_from must have a row for every id, got 3 rows and id 147", rescore=20, rescore_from=large[:3])
    refused(f"rescore_from must be an array (n, {DIM}), got shape (200, 5)", rescore=2, rescore_from=large[:, :5])
    refused(
        f"rescore_from must return (50, {DIM}) rows, got shape (1, {DIM})",
        rescore=20,
        rescore_from=lambda ids: large[:1],
    )
    large[147, 2] = np.inf
    refused("rescore_from must be finite, got inf for id 147, column 2", rescore=20, rescore_from=large)


@pytest.mark.parametrize("keep", KEEPS)
def test_kept_vectors_need_vectors_that_fit(keep: Any) -> None:
    index = Index(DIM, keep=keep)
    with pytest.raises(ValueError, match=f'keep must be None to add codes, got "{keep}"'):
        index.add_codes(index.codec.encode(rows(2)))
    huge = np.full((3, DIM), 1e30)
    huge[0] = 1
    if keep == "float16":
        with pytest.raises(ValueError, match=r"x must fit float16, .* got 1.* at row 1, column 0"):
            index.add(huge)
        assert len(index) == 0
    else:
        index.add(huge)
    width = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[keep]
    size = index.codec.bytes_per_vector() + 4 + 8 + DIM * width + (4 if keep == "int8" else 0)
    assert (
        repr(index)
        == f"Index(dim={DIM}, bits=4, metric='ip', n={len(index)}, keep={keep!r}, {size:.1f} bytes per vector)"
    )
    with pytest.raises(ValueError, match='keep must be "float32", "float16", "bfloat16", "int8", got'):
        Index(DIM, keep="float64")  # type: ignore[arg-type]


# --- merges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_a_merged_index_is_one_that_holds_all(metric: Any) -> None:
    x, queries = rows(900), rows(12, 1)
    whole = Index(DIM, 3, metric, keep="float16")
    whole.add(x, range(900, 0, -1))
    parts = []
    for first, last in [(0, 300), (300, 301), (301, 900)]:
        part = Index(DIM, 3, metric, keep="float16")
        part.add(x[first:last], range(900 - first, 900 - last, -1))
        parts.append(part)
    merged = Index.merge(parts)
    assert [len(part) for part in parts] == [300, 1, 599]
    assert merged.ids.tolist() == whole.ids.tolist()
    for options in ({}, {"rescore": 3}):
        for a, b in zip(merged.search(queries, 20, **options), whole.search(queries, 20, **options), strict=True):
            assert same(a, b)
    assert merged.nbytes == whole.nbytes


def test_indexes_that_do_not_fit_are_refused() -> None:
    subject = Subject()
    index, codec = subject.index, subject.q
    taken = Index(codec=codec)
    taken.add(X[:2], [1, 27])
    refuses(lambda: index.extend(taken), "ids must be new and distinct, got 27 a second time", ValueError, subject)
    refuses(lambda: index.extend(index), "other must be another index, got this one", ValueError, subject)
    refuses(lambda: index.extend(X), "other must be an Index, got ndarray", TypeError, subject)  # type: ignore[arg-type]
    other = Index(codec=codec, metric="l2")
    text = 'other must be an index of the same metric, "ip", got "l2"'
    refuses(lambda: index.extend(other), text, ValueError, subject)
    kept = Index(codec=codec, keep="int8")
    text = "other must be an index that keeps the same originals, none, got int8"
    refuses(lambda: index.extend(kept), text, ValueError, subject)
    with pytest.raises(ValueError, match=r"other must be an index of the same codec, TurboQuant\(.*seed=2"):
        index.extend(Index(codec=TurboQuant(DIM, 4, seed=2)))
    with pytest.raises(ValueError, match="indexes must be at least one index, got none"):
        Index.merge([])
    with pytest.raises(TypeError, match="indexes must be Index objects, got int"):
        Index.merge([index, 3])  # type: ignore[list-item]
    named = Index(codec=codec)
    named.add(X[:1], ["a"])
    with pytest.raises(ValueError, match="ids must be integers, as those of the index's rows are, got strings"):
        index.extend(named)


def test_ids_that_were_ever_given_are_not_assigned_by_a_merged_index() -> None:
    a, b = Index(DIM), Index(DIM)
    a.add(rows(2))
    b.add(rows(3), [5, 6, 40])
    b.remove(40)
    merged = Index.merge([a, b])
    assert merged.add(rows(1)).tolist() == [41]
    a.extend(b)
    assert (list(a), a.add(rows(1)).tolist()) == ([0, 1, 5, 6], [41])
    b.remove([5, 6])
    empty = Index(DIM)
    empty.extend(b)
    assert (len(empty), empty.add(rows(1)).tolist()) == (0, [41])


def test_filters_of_another_kind_of_ids_are_refused() -> None:
    named, numbered = Index(DIM), Index(DIM)
    named.add(rows(3), ["a", "b", "c"])
    numbered.add(rows(3))
    for index, allowed, text in [
        (named, [0, 1], "filter must be strings, as the ids of the index's vectors are, or a mask, got integers"),
        (named, range(3), "got a range of integers"),
        (named, slice(None), "got a range of integers"),
        (numbered, ["0"], "filter must be integers, as the ids of the index's vectors are, or a mask, got strings"),
    ]:
        with pytest.raises(ValueError, match=text):
            index.search(rows(1), filter=allowed)
        with pytest.raises(ValueError, match=text):
            index.filter(allowed)
    for index in (named, numbered):
        assert (len(index.filter([])), len(index.filter([True, False, True]))) == (0, 2)
    assert len(Index(DIM).filter(["a"])) == len(Index(DIM).filter([1])) == 0


# --- searches of string ids --------------------------------------------------------------------------------------


def test_filters_and_ranges_of_strings() -> None:
    index, x = Index(DIM, bits=8, metric="l2"), rows(6)
    index.add(x, ["a", "b", "c", "d", "e", "f"])
    index.remove("b")
    for allowed in (
        ["c", "f", "b", "z"],
        np.array(["f", "c"]),
        np.array(["c", "f"], object),
        [False, True] * 2 + [True],
    ):
        wanted = {"c", "e", "f"} if isinstance(allowed, list) and allowed[0] is False else {"c", "f"}
        _, found = index.search(x[0], 5, filter=allowed)
        assert set(found.tolist()) - {None} == wanted
        lims, _, within = index.range_search(x[:2], np.inf, filter=allowed)
        assert lims.tolist() == [0, len(wanted), 2 * len(wanted)]
        assert within.dtype == object
        assert set(within.tolist()) == wanted
    with pytest.raises(TypeError, match="allowed must be all integers or all strings, got 1 among strings"):
        index.filter(["a", 1])
    with pytest.raises(TypeError, match="allowed must be all integers or all strings, got None among strings"):
        index.filter(["a", None])  # type: ignore[list-item]
    lims, scores, none = index.range_search(x[:0], 1)
    assert (lims.tolist(), scores.tolist(), none.tolist(), none.dtype) == ([0], [], [], np.dtype(object))


def test_out_is_of_integers() -> None:
    index, x = Index(DIM, keep="float32"), rows(6)
    index.add(x)
    out = np.empty((6, 2), np.float32), np.empty((6, 2), np.int64)
    allowed = [0, 2, 4]
    for rescored in ({"rescore": 2}, {"rescore": 2, "rescore_from": x}):
        stats = SearchStats()
        scores, ids = index.search(x, 2, filter=allowed, **rescored)  # type: ignore[arg-type]
        got = index.search(x, 2, filter=allowed, out=out, stats=stats, exact=True, **rescored)  # type: ignore[arg-type]
        assert got[0] is out[0]
        assert same(out[0], scores)
        assert np.array_equal(out[1], ids)
        assert set(ids.ravel().tolist()) <= {0, 2, 4}
        assert stats.full_rows == 6 * 3
        out[0][:], out[1][:] = 0, 0
    named = Index(DIM)
    named.add(x, list("abcdef"))
    with pytest.raises(ValueError, match="out must be None in an index of string ids"):
        named.search(x, 2, out=out)
    assert not out[1].any()


# --- files -------------------------------------------------------------------------------------------------------


def test_removed_vectors_stay_removed_in_files(tmp_path: Path) -> None:
    index = Index(DIM, metric="l2")
    index.add(rows(50))
    path = tmp_path / "vectors.tqi"
    index.save(path)
    index.remove([3, 5])
    index.commit()
    assert list(Index.open(path)) == list(index)
    for back in (pickle.loads(pickle.dumps(index)), Index.from_bytes(index.to_bytes())):
        assert list(back) == list(index)
    index.remove(49)
    index.save(path)
    for mapped in (True, False):
        back = Index.open(path, mmap=mapped)
        assert list(back) == [i for i in range(49) if i not in (3, 5)]
        for a, b in zip(back.search(rows(3, 1), 60), index.search(rows(3, 1), 60), strict=True):
            assert same(a, b)
        assert back.info()["removed"] == 3
        assert back.add(rows(1)).tolist() == [50], "removed ids are not assigned again"
        back.remove([0, 50])
        back.compact()
        assert list(back) == [i for i in range(1, 49) if i not in (3, 5)]
        assert same(back.reconstruct(7), index.reconstruct(7))
    index.add(rows(1))
    index.commit()
    assert len(Index.open(path)) == 48
    index.remove(index.ids[:18])  # More than a quarter: their place is taken back, and the file written anew.
    index.remove(20)
    index.commit()
    back = Index.open(path)
    assert (list(back), back.info()["removed"]) == ([*range(21, 49), 50], 1)


def test_string_ids_are_in_files(tmp_path: Path) -> None:
    index, path = Index(DIM), tmp_path / "vectors.tqi"
    index.add(rows(3), ["a", "ä", ""])
    index.save(path)
    index.upsert(rows(2, 1), ["ä", "b"])
    index.commit()
    for back in (Index.open(path), Index.open(path, mmap=False), pickle.loads(pickle.dumps(index))):
        assert list(back) == list(index) == ["a", "", "ä", "b"]
        assert ("ä" in back, "c" in back, 1 in back, back.info()["string_ids"]) == (True, False, False, True)
        for a, b in zip(back.search(rows(3, 1), 4), index.search(rows(3, 1), 4), strict=True):
            assert a.tolist() == b.tolist()
        with pytest.raises(ValueError, match="strings, as those of the index's rows are, got integers"):
            back.add(rows(1), [7])
        back.remove(["a", "b"])
        assert list(back) == ["", "ä"]


@pytest.mark.parametrize("keep", ["float32", "float16", "bfloat16", "int8"])
def test_kept_vectors_are_in_files(tmp_path: Path, keep: Any) -> None:
    index, path = Index(DIM, 1, keep=keep), tmp_path / "vectors.tqi"
    index.save(path)
    index.add(rows(20))
    index.commit()
    index.upsert(rows(2, 1), [3, 30])
    index.commit()
    wanted = index.search(rows(3, 2), 4, rescore=3)
    for back in (Index.open(path), Index.open(path, mmap=False), pickle.loads(pickle.dumps(index))):
        assert (back.keep, repr(back)) == (keep, repr(index))
        assert back.info()["bytes"]["originals"] == index.info()["bytes"]["originals"]
        assert all(map(same, back.search(rows(3, 2), 4, rescore=3), wanted))

"""PaperIndex: ids, refusals that leave it as it was, results' shapes; what it returns is in tests/parity."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from subject import refuses
from turboquant_rs import QJL, PaperIndex, PolarQuant, TurboQuant, TurboQuantProd

X = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
MAKERS = [lambda: QJL(16, 64), lambda: TurboQuantProd(16, 3), lambda: PolarQuant(16, 2, (4, 3))]


class Watched:
    """What must not change when a call is refused."""

    def __init__(self, index: PaperIndex) -> None:
        self.index = index

    def state(self) -> Any:
        scores, ids = self.index.search(X[:3], 50)
        return len(self.index), self.index.nbytes, self.index.ids.tobytes(), scores.tobytes(), ids.tobytes()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
def test_ids_shapes_and_sizes(make: Any, metric: Any) -> None:
    index = PaperIndex(make(), metric)
    scores, ids = index.search(X[0], 2)
    worst = np.inf if metric == "l2" else -np.inf
    assert (scores.tolist(), ids.tolist(), scores.dtype, ids.dtype) == ([worst] * 2, [-1] * 2, np.float32, np.int64)
    assert index.add(X[:10]).tolist() == list(range(10))
    assert index.add(X[10:12], [50, 20]).tolist() == [50, 20]
    assert index.add(X[12:13]).tolist() == [51]
    assert index.add(np.empty((0, 16))).tolist() == []
    assert index.ids.tolist() == [*range(10), 50, 20, 51]
    assert (len(index), index.dim, index.metric) == (13, 16, metric)
    per_vector = index.codec.bytes_per_vector() + 8 + 4 * (metric == "l2")
    assert index.nbytes == 13 * per_vector + index.codec.nbytes
    assert repr(index) == f"PaperIndex({index.codec!r}, metric={metric!r}, n=13, {per_vector:.1f} bytes per vector)"
    assert index.search(X[0], 3)[1].shape == (3,)
    assert index.search(X[:2].tolist(), 3)[0].shape == (2, 3)
    assert index.search(X[:2], 14)[1][:, 13].tolist() == [-1, -1]
    assert index.reconstruct(20).shape == (16,)
    assert np.array_equal(index.reconstruct([20, 3]), [index.reconstruct(20), index.reconstruct(3)])


@pytest.mark.parametrize("make", MAKERS)
def test_refusals(make: Any) -> None:
    index = PaperIndex(make(), "l2")
    index.add(X, np.arange(40)[::-1])
    subject: Any = Watched(index)
    bad = X.copy()
    bad[7, 3] = np.nan
    large = X.copy()
    large[5] = 2.0**62
    refuses(lambda: index.add(bad), "x must be finite, got NaN at row 7, column 3", subject=subject)
    refuses(lambda: index.add(X[:, :15]), "x must have 16 columns (the codec's dim), got 15", subject=subject)
    refuses(lambda: index.add(X[:2], [1, 77]), "ids must be new and distinct, got 1 a second time", subject=subject)
    refuses(lambda: index.add(X[:2], [77, 77]), "ids must be new and distinct, got 77 a second time", subject=subject)
    refuses(
        lambda: index.add(X[:2], [77, -1]), "ids must be at least 0 (−1 marks empty places), got -1", subject=subject
    )
    refuses(lambda: index.add(X[:2], [77]), "ids must be one a row (2), got 1", subject=subject)
    text = "must have norms below 2^63 for squared L2 distances, got a larger one at row 5"
    refuses(lambda: index.search(large), f"queries {text}", subject=subject)
    if not isinstance(index.codec, PolarQuant):
        refuses(lambda: index.add(large), f"x {text}", subject=subject)
    refuses(lambda: index.search(bad), "queries must be finite, got NaN at row 7, column 3", subject=subject)
    refuses(lambda: index.search(X, 0), "k must be at least 1, got 0", subject=subject)
    refuses(lambda: index.reconstruct([3, 99]), "'ids must be in the index, got 99'", KeyError, subject)


def test_faulty_arguments() -> None:
    text = "codec must be a QJL, TurboQuantProd or PolarQuant, got TurboQuant"
    refuses(lambda: PaperIndex(TurboQuant(16)), text, TypeError)  # type: ignore[arg-type]
    text = 'metric must be "ip", "cosine", "l2", got \'dot\''
    refuses(lambda: PaperIndex(QJL(16, 8), "dot"), text)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_pickles_and_copies_stand_alone(make: Any, metric: Any) -> None:
    index = PaperIndex(make(), metric)
    index.add(X[:20], np.arange(20)[::-1])
    for other in (pickle.loads(pickle.dumps(index)), copy.copy(index), copy.deepcopy(index)):
        assert Watched(other).state() == Watched(index).state()
        assert (other.codec, other.metric) == (index.codec, index.metric)
        assert other.add(X[:1]).tolist() == [20]
        assert len(index) == 20


def test_cosine_takes_any_norm() -> None:
    index = PaperIndex(QJL(16, 256), "cosine")
    index.add(np.full((1, 16), 3e38, np.float32))
    index.add(X)
    scores, ids = index.search(np.full(16, 3e38, np.float32), 41)
    assert ids[0] == 0
    assert abs(scores[0] - 1) < 0.5
    assert np.isfinite(scores).all()


def test_a_later_block_names_its_own_row() -> None:
    """Rows are encoded a part at a time, queries searched in batches: errors count from the first one."""
    index = PaperIndex(TurboQuantProd(4, 2))
    x = np.ones((70_000, 4), np.float32)
    x[69_999, 1] = np.inf
    refuses(lambda: index.add(x), "x must be finite, got inf at row 69999, column 1")
    index.add(X[:, :4])
    refuses(lambda: index.search(x[60_000:], 1), "queries must be finite, got inf at row 9999, column 1")


def test_searches_beside_adds_see_whole_adds() -> None:
    index, sizes = PaperIndex(QJL(16, 32)), []

    def search() -> None:
        for _ in range(50):
            sizes.append(int((index.search(X[0], 400)[1] >= 0).sum()))

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        index.add(X)
    for thread in threads:
        thread.join()
    assert all(size % 40 == 0 for size in sizes)
    assert len(index) == 400


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
def test_changes_and_filters_leave_what_an_index_of_the_rest_finds(make: Any, metric: Any) -> None:
    """A random walk of changes, beside the vectors that are left: an index of those alone finds the same."""
    rng, index = np.random.default_rng(1), PaperIndex(make(), metric)
    left: dict[int, int] = {}
    for _ in range(60):
        chosen = rng.permutation(60)[: rng.integers(1, 6)].tolist()
        kind = rng.integers(4)
        if kind == 0:
            chosen = [id_ for id_ in chosen if id_ not in left]
            assert index.add(X[[id_ % 40 for id_ in chosen]], chosen).tolist() == chosen
        elif kind == 1:
            assert index.upsert(X[[(id_ + 7) % 40 for id_ in chosen]], chosen).tolist() == chosen
        elif kind == 2:
            chosen = [id_ for id_ in chosen if id_ in left]
            index.remove(chosen[0] if len(chosen) == 1 else chosen)
        else:
            index.compact()
            chosen = []
        for id_ in chosen:
            left.pop(id_, None)
            if kind < 2:
                left[id_] = (id_ + 7 * kind) % 40
        ids, places = np.array(list(left), np.int64), list(left.values())
        rest, thirds = PaperIndex(index.codec, metric), PaperIndex(index.codec, metric)
        rest.add(X[places], ids)
        assert (list(index), len(index)) == (list(left), len(left))
        assert all((id_ in index) == (id_ in left) for id_ in range(60))
        assert Watched(pickle.loads(pickle.dumps(index))).state() == Watched(rest).state()
        assert all(map(np.array_equal, index.search(X[:3], 60), rest.search(X[:3], 60)))
        is_third = ids % 3 == 0
        thirds.add(X[places][is_third], ids[is_third])
        found = thirds.search(X[:3], 60)
        for allowed in (is_third, ids[is_third], range(0, 60, 3), slice(0, None, 3), index.filter(is_third)):
            assert all(map(np.array_equal, index.search(X[:3], 60, filter=allowed), found)), allowed


def test_refused_changes_and_filters() -> None:
    index, other = PaperIndex(QJL(16, 64)), PaperIndex(QJL(16, 64))
    index.add(X)
    other.add(X)
    subject: Any = Watched(index)
    before = subject.state()
    with pytest.raises(KeyError, match="40"):
        index.remove([3, 40])
    with pytest.raises(ValueError, match="3 a second time"):
        index.upsert(X[:2], [3, 3])
    with pytest.raises(TypeError, match="ids must be integers"):
        index.remove(["a"])
    with pytest.raises(ValueError, match="filter must be a filter of this index"):
        index.search(X[0], 3, filter=other.filter([1]))
    with pytest.raises(ValueError, match=r"filter must be one value a row \(40\)"):
        index.search(X[0], 3, filter=np.ones(3, bool))
    assert index.search(X[0], 3, filter=["a"])[1].tolist() == [-1] * 3
    assert ("a" in index, True in index, -1 in index, 1 << 63 in index) == (False,) * 4
    assert subject.state() == before
    old = index.filter(range(5))
    index.remove(range(4))
    assert (index.removed, index.search(X[0], 3, filter=old)[1].tolist()) == (4, [4, -1, -1])
    index.remove(range(4, 20))
    assert index.removed == 0, "more than a quarter is taken back at once"
    with pytest.raises(ValueError, match="made after the last compaction"):
        index.search(X[0], 3, filter=old)

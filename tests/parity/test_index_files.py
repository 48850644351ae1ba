"""Index files: the reader in plain NumPy finds in them what the package wrote; the bytes of golden files stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fits import mixed_rows_of, random_parts
from hypothesis import given
from hypothesis import strategies as st
from strategies import METRICS, bits, dims, matrices, same, seeds
from turboquant_rs import Index, TurboQuant
from turboquant_rs.reference.index_file import read_index


def rows(n: int, dim: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((n, dim), np.float32)


def check(index: Index, data: bytes) -> None:
    """Hold the reference's reader to an index."""
    read = read_index(data)
    assert (read.metric, read.codec.spec.fingerprint) == (index.metric, index.codec.fingerprint)
    assert np.array_equal(read.ids if read.names is None else read.names, index.ids)
    names = dict(zip(read.ids.tolist(), read.names or read.ids.tolist(), strict=True))
    names[-1] = -1 if read.names is None else None
    if len(index):
        queries = rows(3, index.dim, 77)
        for k in (1, 7):
            scores, ids = index.search(queries, k)
            want_scores, want_ids = read.search(queries, k)
            assert ids.tolist() == [[names[i] for i in row] for row in want_ids.tolist()]
            assert same(scores, want_scores)
            if index.keep is not None:
                scores, ids = index.search(queries, k, rescore=2)
                want_scores, want_ids = read.search(queries, k, 2)
                assert ids.tolist() == [[names[i] for i in row] for row in want_ids.tolist()]
                assert same(scores, want_scores)


@given(
    data=st.data(),
    dim=dims(300),
    width=bits(),
    metric=st.sampled_from(METRICS),
    seed=seeds(),
    commits=st.integers(0, 3),
    named=st.booleans(),
    keep=st.sampled_from([None, "float32", "float16", "bfloat16", "int8"]),
)
def test_any_file(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    dim: int,
    width: int,
    metric: str,
    seed: int,
    commits: int,
    named: bool,
    keep: Any,
) -> None:
    path = tmp_path_factory.mktemp("files") / "index.tqi"
    index = Index(codec=TurboQuant(dim, width, seed=seed), metric=metric, keep=keep)  # type: ignore[arg-type]
    limit = 60_000.0 if keep == "float16" else 2.0**40
    for _ in range(commits + 1):
        x = np.clip(data.draw(matrices(dim)), -limit, limit)
        ids: Any = None
        if named:
            ids = data.draw(st.lists(st.text(), min_size=len(x), max_size=len(x), unique=True))
        elif data.draw(st.booleans()):
            ids = np.random.default_rng(len(index)).permutation(len(x)) + 1000 * (1 + len(index))
        index.upsert(x, ids) if named else index.add(x, ids)
        if data.draw(st.booleans()):
            index.remove(index.ids[data.draw(st.integers(0, 3)) :: data.draw(st.integers(2, 5))])
        index.commit() if path.exists() else index.save(path)
    check(index, path.read_bytes())
    check(Index.open(path), path.read_bytes())
    check(index, index.to_bytes())


@pytest.mark.parametrize("metric", METRICS)
def test_files_of_fitted_codecs(tmp_path: Path, metric: str) -> None:
    path = tmp_path / "index.tqi"
    for dim, axes, center in ((40, 12, True), (9, 9, False), (100, 31, False)):
        parts = random_parts(dim, dim, axes=axes, center=center)
        index = Index(codec=TurboQuant._from_parts(*parts[:5]), metric=metric)  # type: ignore[arg-type]
        index.add(mixed_rows_of(parts, 70))
        index.save(path)
        for n in (1, 66):
            index.add(mixed_rows_of(parts, n, n))
            index.upsert(mixed_rows_of(parts, 3, n), [1, 5, n + 9])
            index.remove(n + 11)
            index.commit()
        check(index, path.read_bytes())
        check(index, index.to_bytes())


@pytest.mark.parametrize(
    "name",
    [
        "plain-v1.tqi",
        "one-bit-v1.tqi",
        "one-bit-rows-v1.tqi",
        "one-bit-long-blocks-v1.tqi",
        "plain-long-blocks-v1.tqi",
        "fitted-removed-long-blocks-v1.tqi",
        "fitted-v1.tqi",
        "fitted-removed-v1.tqi",
        "fitted-removed-other-bounds-v1.tqi",
        "fitted-removed-smaller-stage-v1.tqi",
        "plain-names-v1.tqi",
        "plain-kept-v1.tqi",
    ],
)
def test_golden_files(name: str) -> None:
    path = Path(__file__).parents[2] / "rust" / "core" / "tests" / "data" / name
    if not path.is_file():
        pytest.skip("no source tree here")
    check(Index.open(path), path.read_bytes())


@pytest.mark.parametrize("ids", [list(range(5)), ["a", "", "éé", "b", "cd"]])
def test_the_reference_refuses_damage(tmp_path: Path, ids: Any) -> None:
    path = tmp_path / "index.tqi"
    index = Index(8, 3, "l2", keep=None if ids[0] == 0 else "int8")
    index.add(rows(3, 8), ids[:3])
    index.save(path)
    index.add(rows(2, 8, 1), ids[3:])
    index.remove(ids[1])
    index.commit()
    whole = path.read_bytes()
    newest = range(512, 1024)  # The chunk that it counts makes its damage good.
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        if at in newest:
            check(index, bytes(damaged))
            continue
        with pytest.raises(ValueError, match=r"byte|code file|header|version"):
            read_index(bytes(damaged))
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"byte|code file"):
            read_index(whole[:length])
    check(index, whole + b"a stopped commit")

"""`turboquant index`, `verify`, and what `search` and `info` say of an index file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from turboquant_rs import Index, TurboQuant

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")

Run = Callable[..., Any]
Array = NDArray[np.float32]


@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
def test_an_index_is_made_searched_and_described(
    metric: str, x: Array, tmp_path: Path, run: Run, run_json: Run
) -> None:
    source, queries, target = tmp_path / "x.npy", tmp_path / "q.npy", tmp_path / "x.tqi"
    np.save(source, x)
    np.save(queries, x[:3] + 0.1)
    made = run_json("index", source, target, "--bits", 3, "--metric", metric, "--seed", 5)
    assert (made["vectors"], made["bits"], made["metric"], made["bytes"]) == (100, 3, metric, target.stat().st_size)
    opened = Index.open(target)
    assert (opened.codec.seed, opened.metric, len(opened)) == (5, metric, 100)
    found = run_json("search", target, queries, "-k", 7)
    scores, ids = opened.search(x[:3] + np.float32(0.1), 7)
    assert found["ids"] == ids.tolist()
    assert np.array_equal(np.float32(found["scores"]), scores)
    assert found["metric"] == metric
    told = run_json("info", target, "--verify")
    assert (told["kind"], told["vectors"], told["verified"]) == ("index", 100, True)
    assert "100 of 24 dimensions" in run("info", target).stdout
    assert "every checksum is right" in run("verify", target).stdout


def test_an_index_of_a_split_codec_is_described(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    source, codec, target = tmp_path / "x.npy", tmp_path / "q.tqc", tmp_path / "x.tqi"
    np.save(source, x)
    TurboQuant(x.shape[1], (3, 2), outliers=range(8)).save(codec)
    assert "(3, 2) bits" in run("index", source, target, "--codec", codec).stdout
    assert "(3, 2) bits" in run("info", target).stdout
    assert run_json("info", target)["bits"] == [3, 2]


def test_string_ids_are_found(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    index = Index(x.shape[1])
    names = [f"vector {i}" for i in range(len(x))]
    index.add(x, names)
    path, queries = tmp_path / "named.tqi", tmp_path / "q.npy"
    index.save(path)
    np.save(queries, x[:3])
    assert "vector 2" in run("search", path, queries).stdout
    wanted = index.search(x[:3], 2)[1].tolist()
    assert run_json("search", path, queries, "-k", 2)["ids"] == wanted
    run("search", path, queries, "-k", 2, "--out", tmp_path / "found.npz")
    assert np.load(tmp_path / "found.npz", allow_pickle=False)["ids"].tolist() == wanted


def test_several_indexes_are_searched_and_merged(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    paths, queries = [tmp_path / "a.tqi", tmp_path / "b.tqi"], tmp_path / "q.npy"
    whole, half = Index(x.shape[1]), len(x) // 2
    for path, part in zip(paths, (slice(0, half), slice(half, None)), strict=True):
        index = Index(x.shape[1])
        index.add(x[part], np.arange(len(x))[part])
        whole.extend(index)
        index.save(path)
    np.save(queries, x[:3])
    scores, ids = whole.search(x[:3], 5)
    found = run_json("search", *paths, queries, "-k", 5)
    assert (found["ids"], found["scores"]) == (ids.tolist(), scores.tolist())
    assert found["codes"] == [str(path) for path in paths]
    target = tmp_path / "all.tqi"
    assert run_json("merge", target, *paths)["vectors"] == len(x)
    assert target.read_bytes() == whole.to_bytes()
    assert "exists" in run("merge", target, *paths, status=1).stderr
    assert "is an input" in run("merge", paths[0], *paths, "--force", status=2).stderr
    assert "got 0 a second time" in run("merge", "--force", target, paths[0], paths[0], status=1).stderr
    Index(x.shape[1], 3).save(tmp_path / "other.tqi")
    other = run("merge", "--force", target, paths[0], tmp_path / "other.tqi", status=1).stderr
    assert "must be index files of one codec" in other
    assert "other.tqi" in other
    assert "is no index file" in run("search", paths[0], queries, queries, status=2).stderr
    assert target.read_bytes() == whole.to_bytes()


def test_an_empty_index_has_no_neighbours(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    path, queries = tmp_path / "empty.tqi", tmp_path / "q.npy"
    Index(x.shape[1]).save(path)
    np.save(queries, x[:2])
    found = run_json("search", path, queries)
    assert (found["k"], found["ids"], found["scores"]) == (0, [[], []], [[], []])
    lines = run("search", path, queries).stdout.splitlines()
    assert lines[0].startswith("2 queries, 0 vectors")


def test_refusals(x: Array, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "x.npy", tmp_path / "x.tqi"
    np.save(source, x)
    run("index", source, target, "--quiet")
    assert "exists" in run("index", source, target, status=1).stderr
    assert "is not the index's, ip" in run("search", target, source, "--metric", "l2", status=2).stderr
    assert "no checksums" in run("verify", source, status=2).stderr
    assert "holds no codec" in run("index", source, tmp_path / "y.tqi", "--codec", target, status=1).stderr
    monkeypatch.setattr("turboquant_rs.cli.index.BLOCK_BYTES", 4 * x.shape[1] * 4)
    bad = x.copy()
    bad[9, 2] = np.nan
    np.save(source, bad)
    message = run("index", source, tmp_path / "y.tqi", status=1).stderr
    assert message == f"error: {source} must be finite, got NaN at row 9, column 2; repair or drop that row\n"
    assert not (tmp_path / "y.tqi").exists()


def test_damage_is_an_error(x: Array, tmp_path: Path, run: Run) -> None:
    source, target = tmp_path / "x.npy", tmp_path / "x.tqi"
    np.save(source, x)
    run("index", source, target, "--quiet")
    data = bytearray(target.read_bytes())
    data[-100] ^= 1
    target.write_bytes(data)
    for line in (("verify", target), ("info", target), ("search", target, source)):
        assert "checksum" in run(*line, status=1).stderr

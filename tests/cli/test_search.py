"""`turboquant search`: the scores and ids of the library, whatever the blocks."""

from __future__ import annotations

import json
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
Array = NDArray[Any]


@pytest.fixture
def queries() -> Array:
    return np.random.default_rng(8).standard_normal((5, 24)).astype(np.float32)


@pytest.fixture
def files(x: Array, queries: Array, tmp_path: Path) -> tuple[Path, Path]:
    # Every row twice, so that scores tie.
    TurboQuant(24, 4).encode(np.concatenate([x, x])).save(tmp_path / "x.tq")
    np.save(tmp_path / "q.npy", queries)
    return tmp_path / "x.tq", tmp_path / "q.npy"


def _expected(x: Array, queries: Array, k: int) -> tuple[Array, Array]:
    index = Index(24, 4)
    index.add(np.concatenate([x, x]))
    return index.search(queries, k)


@pytest.mark.parametrize("block", [1, 7, 64, 10**6])
@pytest.mark.parametrize("k", [1, 10, 150, 200])
def test_finds_what_an_index_finds(
    k: int,
    block: int,
    x: Array,
    queries: Array,
    files: tuple[Path, Path],
    run_json: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("turboquant_rs.cli.search._BLOCK_BYTES", block * 12)
    report = run_json("search", *files, "-k", k)
    scores, ids = _expected(x, queries, k)
    assert report["ids"] == ids.tolist()
    assert report["scores"] == scores.tolist()
    assert report.items() >= {"metric": "ip", "k": k, "vectors": 200, "dim": 24, "bits": 4}.items()


@pytest.mark.parametrize("bits", [1, 2])
def test_truncated_codes(
    bits: int,
    x: Array,
    queries: Array,
    tmp_path: Path,
    files: tuple[Path, Path],
    run_json: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("turboquant_rs.cli.search._BLOCK_SCORES", 7 * len(queries))
    codes = TurboQuant(24, 4).encode(np.concatenate([x, x])).truncate(bits)
    codes.save(tmp_path / "top.tq")
    report = run_json("search", tmp_path / "top.tq", files[1])
    scores = codes.codec.score(queries, codes)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert report["bits"] == bits
    assert report["ids"] == ids.tolist()
    assert report["scores"] == np.take_along_axis(scores, ids, axis=1).tolist()


def test_at_most_as_many_neighbours_as_vectors(files: tuple[Path, Path], run_json: Run) -> None:
    report = run_json("search", *files, "-k", 10**12)
    assert report["k"] == 200
    assert {len(row) for row in report["ids"]} == {200}


def test_no_vectors(x: Array, files: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    """A codec's file is one of codes without rows."""
    TurboQuant(24).save(tmp_path / "c.tqc")
    TurboQuant(24).encode(x).truncate(1)[:0].save(tmp_path / "none.tq")
    for name in ("c.tqc", "none.tq"):
        text = run("search", tmp_path / name, files[1], "--out", tmp_path / "o.npz", status=1).stderr
        assert f"{name} holds a codec and no vectors" in text
    assert not (tmp_path / "o.npz").exists()


def test_no_queries(x: Array, queries: Array, tmp_path: Path, run_json: Run, run: Run) -> None:
    TurboQuant(24).encode(x).save(tmp_path / "x.tq")
    np.save(tmp_path / "none.npy", queries[:0])
    assert run_json("search", tmp_path / "x.tq", tmp_path / "none.npy")["ids"] == []
    run("search", tmp_path / "x.tq", tmp_path / "none.npy")


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "int16"])
def test_queries_of_any_kind(dtype: str, x: Array, queries: Array, files: tuple[Path, Path], run_json: Run) -> None:
    stored = (10 * queries).astype(dtype)
    expected = _expected(x, stored, 10)[1].tolist()
    np.savez_compressed(files[1].with_suffix(".npz"), other=x, q=np.asfortranarray(stored))
    assert run_json("search", files[0], files[1].with_suffix(".npz"), "--key", "q")["ids"] == expected
    np.save(files[1], stored[2])
    assert run_json("search", *files)["ids"] == expected[2:3]


def test_results_as_npz(x: Array, queries: Array, files: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    out = tmp_path / "found.npz"
    report = json.loads(run("search", *files, "--out", out, "--json").stdout)
    assert report["output"] == str(out)
    assert "ids" not in report
    scores, ids = _expected(x, queries, 10)
    with np.load(out) as found:
        np.testing.assert_array_equal(found["ids"], ids)
        np.testing.assert_array_equal(found["scores"], scores)
    assert "--force" in run("search", *files, "--out", out, status=1).stderr
    run("search", *files, "-k", 1, "--out", out, "--force", "--quiet")
    with np.load(out) as found:
        assert found["ids"].shape == (5, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.npz", "q.npy", "x.tq"]


def test_the_table_shows_the_first_queries(x: Array, queries: Array, files: tuple[Path, Path], run: Run) -> None:
    text = run("search", *files, "-k", 2, "--show", 2).stdout
    _, ids = _expected(x, queries, 2)
    assert "query 1" in text
    assert "query 2" not in text
    assert text.splitlines()[1].split()[1] == str(ids[0, 0])
    assert max(map(len, run("search", *files).stdout.splitlines())) <= 80


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_other_metrics_are_refused_with_the_reason(metric: str, files: tuple[Path, Path], run: Run) -> None:
    message = run("search", *files, "--metric", metric, status=2).stderr
    assert "norms" in message
    assert "norm 1" in message


def test_damaged_codes_are_refused(files: tuple[Path, Path], run: Run) -> None:
    whole = files[0].read_bytes()
    for at in (3, 30, 100, 200, len(whole) - 1):
        data = bytearray(whole)
        data[at] ^= 1
        files[0].write_bytes(data)
        message = run("search", *files, status=1).stderr
        assert "damaged" in message or "no .npy, .npz or code file" in message
    for size in (6, 60, 200, len(whole) - 1):
        files[0].write_bytes(whole[:size])
        assert "damaged" in run("search", *files, status=1).stderr


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["none.tq", "q.npy"], 1, "does not exist"),
        (["x.tq", "none.npy"], 1, "does not exist"),
        (["q.npy", "q.npy"], 1, "turboquant encode q.npy q.tq"),
        (["x.tq", "x.tq"], 1, "holds codes"),
        (["x.tq", "wide.npy"], 1, "queries must have 24 columns (the code file's dim), got 48"),
        (["x.tq", "nan.npy"], 1, "row 1, column 2"),
        (["x.tq", "q.npy", "-k", "0"], 2, "-k"),
        (["x.tq", "q.npy", "--out", "found.txt"], 2, "found.npz"),
        (["x.tq", "q.npy", "--out", "none/found.npz"], 1, "create it first"),
        (["x.tq", "q.npz", "--out", "q.npz", "--force"], 2, "is an input"),
        (["x.tq"], 2, "FILE"),
    ],
)
def test_faults_end_in_one_line(
    args: list[str],
    status: int,
    words: str,
    queries: Array,
    files: tuple[Path, Path],
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("q.npz", queries)
    np.save("wide.npy", np.concatenate([queries, queries], axis=1))
    queries[1, 2] = np.nan
    np.save("nan.npy", queries)
    assert words in run("search", *args, status=status).stderr

"""`turboquant fit` and `encode` with a fit: the library's codec, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turboquant_rs import Codes, TurboQuant
from turboquant_rs.evaluation import generators

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")

Run = Callable[..., Any]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A file of vectors that a fit pays for."""
    path = tmp_path / "sample.npy"
    np.save(path, generators.mean_dominated(1200, 32).base)
    return path


def test_the_file_holds_the_librarys_codec(sample: Path, tmp_path: Path, run_json: Run) -> None:
    target = tmp_path / "codec.tqc"
    report = run_json("fit", sample, target, "--bits", 1.5)
    want = TurboQuant.fit(np.load(sample), 1.5)
    assert target.read_bytes() == want.to_bytes()
    assert report["fingerprint"] == f"{want.fingerprint:016x}"
    assert report["recall"] == want.report().recall > report["recall_plain"]
    assert report["bytes"] == target.stat().st_size
    assert report["rows"] == 1200


def test_what_people_read(sample: Path, tmp_path: Path, run: Run) -> None:
    text = run("fit", sample, tmp_path / "codec.tqc").stdout
    assert "2 bits, 12 bytes a vector: fitted" in text
    assert "codec.tqc" in text
    assert run("fit", sample, tmp_path / "codec.tqc", "--force", "--quiet").stdout == ""


def test_options_reach_the_fit(sample: Path, tmp_path: Path, run: Run) -> None:
    np.savez(tmp_path / "more.npz", a=np.load(sample), b=np.load(sample)[:300])
    options = ["--scale", "mse", "--center", "off", "--metric", "cosine", "--seed", 3, "--queries", sample]
    run("fit", tmp_path / "more.npz", tmp_path / "codec.tqc", "--key", "a", *options)
    x = np.load(sample)
    want = TurboQuant.fit(x, 2, scale="mse", center=False, metric="cosine", seed=3, queries=x)
    assert TurboQuant.load(tmp_path / "codec.tqc") == want


def test_encode_with_a_codec_file(sample: Path, tmp_path: Path, run: Run, run_json: Run) -> None:
    run("fit", sample, tmp_path / "codec.tqc")
    report = run_json("encode", sample, tmp_path / "x.tq", "--codec", tmp_path / "codec.tqc")
    codec = TurboQuant.load(tmp_path / "codec.tqc")
    assert report["fitted"]
    assert Codes.load(tmp_path / "x.tq").codec == codec
    assert np.array_equal(Codes.load(tmp_path / "x.tq").packed, codec.encode(np.load(sample)).packed)


def test_encode_with_a_fit(sample: Path, tmp_path: Path, run: Run, run_json: Run) -> None:
    x = np.load(sample)
    np.save(tmp_path / "some.npy", x[:100])
    run("encode", sample, tmp_path / "x.tq", "--fit", "--bits", 0.5)
    assert Codes.load(tmp_path / "x.tq").codec == TurboQuant.fit(x, 0.5)
    report = run_json("encode", tmp_path / "some.npy", tmp_path / "y.tq", "--sample", sample)
    assert report["bits"] == 2.0
    assert Codes.load(tmp_path / "y.tq").codec == TurboQuant.fit(x, 2)


def test_encode_with_a_fit_says_what_it_found(sample: Path, tmp_path: Path, run: Run, run_json: Run) -> None:
    """The lines of `turboquant fit`: held-out recall, and the time of the fit beside that of encoding."""
    lines = run("fit", sample, tmp_path / "codec.tqc").stdout.splitlines()
    lines = lines[lines.index("2 bits, 12 bytes a vector: fitted") :]
    for options in (["--fit"], ["--sample", sample]):
        found = run("encode", sample, tmp_path / "x.tq", "--force", *options).stdout.splitlines()
        # The last line has the seconds.
        assert found[-len(lines) : -1] == lines[:-1]
        assert found[-1].startswith(lines[-1][: lines[-1].index("fitted in")] + "fitted in ")
        assert any(line.startswith("encoding time") for line in found)
        report = run_json("encode", sample, tmp_path / "x.tq", "--force", *options)
        assert report["fit"]["recall"] > report["fit"]["recall_plain"]
        assert {report["seconds"] > 0, report["fit"]["seconds"] > 0} == {True}
    assert "fit" not in run_json("encode", sample, tmp_path / "x.tq", "--force", "--codec", tmp_path / "codec.tqc")
    assert "held out" not in run("encode", sample, tmp_path / "x.tq", "--force").stdout


def test_a_plain_result_is_noted(tmp_path: Path, run: Run, command: Run) -> None:
    np.save(tmp_path / "same.npy", np.ones((300, 16), np.float32))
    done = command("fit", tmp_path / "same.npy", tmp_path / "codec.tqc")
    assert done.returncode == 0
    assert done.stderr == "note: fit returns a plain codec: the rows of the sample do not differ\n"
    assert TurboQuant.load(tmp_path / "codec.tqc") == TurboQuant(16, 2)
    run("fit", tmp_path / "same.npy", tmp_path / "codec.tqc", "--force", "--quiet")


REFUSALS: list[tuple[list[object], int, str]] = [
    (["fit", "few.npy", "out.tqc"], 1, "few.npy must have at least 256 rows"),
    (["fit", "bad.npy", "out.tqc"], 1, "bad.npy must be finite, got nan at row 5, column 2"),
    (["fit", "sample.npy", "out.tqc", "--bits", 9], 1, "bits must be above 0 and at most 8, got 9"),
    (["fit", "sample.npy", "sample.npy", "--force"], 2, "sample.npy is an input"),
    (["fit", "none.npy", "out.tqc"], 1, "none.npy does not exist"),
    (["encode", "sample.npy", "out.tq", "--bits", 2.5], 2, "--bits must be a whole number from 1 to 8, got 2.5"),
    (["encode", "sample.npy", "out.tq", "--codec", "codec.tqc", "--bits", 2], 2, "--codec brings its own bits"),
    (["encode", "few.npy", "out.tq", "--codec", "codec.tqc"], 1, "is a codec of 32 dimensions"),
    (["encode", "few.npy", "out.tq", "--sample", "sample.npy"], 1, "has 32 dimensions"),
    (["encode", "sample.npy", "out.tq", "--codec", "sample.npy"], 1, "sample.npy holds vectors, not a codec"),
    (["encode", "sample.npy", "out.tq", "--fit", "--scale", "paper"], 2, "--scale paper is for plain codecs"),
]


@pytest.mark.parametrize(("line", "status", "message"), REFUSALS, ids=[r[2][:30] for r in REFUSALS])
def test_refusals(
    line: list[object], status: int, message: str, sample: Path, tmp_path: Path, run: Run, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.load(sample)
    np.save("few.npy", x[:20, :8])
    x[5, 2] = np.nan
    np.save("bad.npy", x)
    TurboQuant.fit(np.load(sample), 2).save("codec.tqc")
    result = run(*line, status=status)
    assert message in result.stderr
    assert not Path("out.tq").exists()
    assert not Path("out.tqc").exists()

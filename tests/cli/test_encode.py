"""`turboquant encode`: the same bytes as the library for every kind of input, and no half of a file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from turboquant_rs import Codes, TurboQuant

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")

Run = Callable[..., Any]
Array = NDArray[Any]


def _npy(path: Path, array: Array) -> list[str]:
    np.save(path / "x.npy", array)
    return [str(path / "x.npy")]


def _npz(path: Path, array: Array) -> list[str]:
    np.savez(path / "x.npz", array)
    return [str(path / "x.npz")]


def _compressed(path: Path, array: Array) -> list[str]:
    np.savez_compressed(path / "x.npz", vectors=array)
    return [str(path / "x.npz")]


def _keyed(path: Path, array: Array) -> list[str]:
    np.savez_compressed(path / "x.npz", other=np.arange(3), vectors=array)
    return [str(path / "x.npz"), "--key", "vectors"]


FORMS = {
    "float32": lambda x: x,
    "float16": lambda x: x.astype(np.float16),
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian float64": lambda x: x.astype(">f8"),
    "Fortran": np.asfortranarray,
    "Fortran float16": lambda x: np.asfortranarray(x.astype(np.float16)),
    "int8": lambda x: (10 * x).astype(np.int8),
    "bool": lambda x: x > 0,
    "one row": lambda x: x[:1],
    "one column": lambda x: x[:, :1],
    "no rows": lambda x: x[:0],
    "no rows, Fortran": lambda x: np.asfortranarray(x[:0]),
}


@pytest.mark.parametrize("save", [_npy, _npz, _compressed, _keyed])
@pytest.mark.parametrize("form", FORMS)
def test_encodes_to_the_bytes_of_the_library(
    form: str,
    save: Callable[[Path, Array], list[str]],
    x: Array,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array = FORMS[form](x)
    # Seven rows a block, so that the last is shorter.
    monkeypatch.setattr("turboquant_rs.cli.encode.BLOCK_BYTES", 7 * 4 * array.shape[1])
    run("encode", *save(tmp_path, array), tmp_path / "x.tq", "--bits", 3, "--seed", 5)
    assert (tmp_path / "x.tq").read_bytes() == TurboQuant(array.shape[1], 3, seed=5).encode(array).to_bytes()


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("scale", "refine"), [("unbiased", 0), ("mse", 8), ("matched", 16), ("paper", 32)])
def test_options_reach_the_codec(bits: int, scale: Any, refine: Any, x: Array, tmp_path: Path, run: Run) -> None:
    np.save(tmp_path / "x.npy", x)
    options = ["-b", bits, "--scale", scale, "--refine", refine, "--threads", 1]
    run("encode", tmp_path / "x.npy", tmp_path / "x.tq", *options)
    codec = TurboQuant(24, bits, scale=scale, refine=refine or False)
    assert (tmp_path / "x.tq").read_bytes() == codec.encode(x).to_bytes()


def test_the_largest_seed(x: Array, tmp_path: Path, run_json: Run) -> None:
    np.save(tmp_path / "x.npy", x)
    report = run_json("encode", tmp_path / "x.npy", tmp_path / "x.tq", "--seed", 2**64 - 1)
    assert report["seed"] == 2**64 - 1
    assert Codes.load(tmp_path / "x.tq").codec == TurboQuant(24, seed=2**64 - 1)


def test_json_says_what_was_done(x: Array, tmp_path: Path, run_json: Run) -> None:
    np.save(tmp_path / "x.npy", x.astype(np.float16))
    report = run_json("encode", tmp_path / "x.npy", tmp_path / "x.tq", "--threads", 1)
    fixed = {"vectors": 100, "dim": 24, "bits": 4, "bytes_per_vector": 16, "compression_float32": 6.0, "threads": 1}
    assert report.items() >= fixed.items()
    assert report["compression_input"] == 3.0
    assert report["dtype"] == "float16"
    assert report["bytes"] == (tmp_path / "x.tq").stat().st_size
    assert report["fingerprint"] == f"{TurboQuant(24).fingerprint:016x}"
    assert report["vectors_per_second"] == pytest.approx(100 / report["seconds"])


def test_summary_and_quiet(x: Array, tmp_path: Path, run: Run) -> None:
    np.save(tmp_path / "x.npy", x)
    text = run("encode", tmp_path / "x.npy", tmp_path / "x.tq").stdout
    assert "100 of 24 dimensions" in text
    assert "6 times smaller than float32 (96 bytes)" in " ".join(text.split())
    assert "vectors/s" in text
    assert run("encode", tmp_path / "x.npy", tmp_path / "x.tq", "-q", "-f").output == ""


def test_progress_is_shown_only_when_asked_off_a_terminal(x: Array, tmp_path: Path, command: Run) -> None:
    np.save(tmp_path / "x.npy", x)
    assert command("encode", tmp_path / "x.npy", tmp_path / "a.tq", "--json").stderr == ""
    shown = command("encode", tmp_path / "x.npy", tmp_path / "b.tq", "--progress", "--quiet", "--json")
    assert shown.stderr == ""
    shown = command("encode", tmp_path / "x.npy", tmp_path / "c.tq", "--progress", "--json")
    assert "100/100 vectors" in shown.stderr
    assert shown.stdout.startswith("{")


def test_an_existing_file_stays_unless_forced(x: Array, tmp_path: Path, run: Run) -> None:
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.tq").write_text("precious")
    failed = run("encode", tmp_path / "x.npy", tmp_path / "x.tq", status=1)
    assert "--force" in failed.stderr
    assert (tmp_path / "x.tq").read_text() == "precious"
    run("encode", tmp_path / "x.npy", tmp_path / "x.tq", "--force")
    assert len(Codes.load(tmp_path / "x.tq")) == 100


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(
    bad: float, x: Array, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turboquant_rs.cli.encode.BLOCK_BYTES", 7 * 4 * 24)
    x[57, 11] = bad
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "old.tq").write_text("precious")
    message = run("encode", tmp_path / "x.npy", tmp_path / "old.tq", "--force", status=1).stderr
    assert f"{tmp_path / 'x.npy'} must be finite" in message
    assert "row 57, column 11" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.tq", "x.npy"]
    assert (tmp_path / "old.tq").read_text() == "precious"


def test_values_beyond_float32_are_named(x: Array, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turboquant_rs.cli.encode.BLOCK_BYTES", 7 * 4 * 24)
    wide = x.astype(np.float64)
    wide[57, 11] = 1e39
    np.save(tmp_path / "x.npy", wide)
    message = run("encode", tmp_path / "x.npy", tmp_path / "x.tq", status=1).stderr
    assert "float32" in message
    assert "row 57, column 11" in message


def _cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


FAULTS: dict[str, tuple[Callable[[Path, Array], Any], int, str]] = {
    "missing": (lambda p, x: None, 1, "does not exist"),
    "folder": (lambda p, x: p.mkdir(), 1, "is a folder"),
    "empty": (lambda p, x: p.write_bytes(b""), 1, "is empty"),
    "text": (lambda p, x: p.write_text("1,2,3\n"), 1, "numpy.save"),
    "codes": (lambda p, x: TurboQuant(24).encode(x).save(p), 1, "holds codes"),
    "1-D": (lambda p, x: p.write_bytes(_bytes_of(x[0])), 1, "must be 2-D"),
    "3-D": (lambda p, x: p.write_bytes(_bytes_of(x[None])), 1, "must be 2-D"),
    "complex": (lambda p, x: p.write_bytes(_bytes_of(x.astype(complex))), 1, "real numbers"),
    "text array": (lambda p, x: p.write_bytes(_bytes_of(x.astype(str))), 1, "real numbers"),
    "object": (lambda p, x: p.write_bytes(_bytes_of(x.astype(object))), 1, "real numbers"),
    "no columns": (lambda p, x: p.write_bytes(_bytes_of(x[:, :0])), 1, "1 to 65,536 dimensions"),
    "cut header": (lambda p, x: (p.write_bytes(_bytes_of(x)), _cut(p, 40)), 1, "no whole .npy file"),
    "cut values": (lambda p, x: (p.write_bytes(_bytes_of(x)), _cut(p, 5000)), 1, "cut short"),
    "cut zip": (lambda p, x: (p.write_bytes(_bytes_of(x, np.savez)), _cut(p, 5000)), 1, "cannot be read"),
    "flipped zip": (lambda p, x: (p.write_bytes(_bytes_of(x, np.savez)), _flip(p, 5000)), 1, "CRC"),
    "flipped deflate": (lambda p, x: (p.write_bytes(_bytes_of(x, np.savez_compressed)), _flip(p, 5000)), 1, "again"),
    "empty zip": (lambda p, x: p.write_bytes(_bytes_of(None, lambda f, _: np.savez(f))), 1, "without arrays"),
    "two arrays": (lambda p, x: p.write_bytes(_bytes_of(x, lambda f, a: np.savez(f, one=a, two=a))), 2, "one, two"),
}


def _bytes_of(array: Any, save: Callable[[Any, Any], None] = np.save) -> bytes:
    import io

    file = io.BytesIO()
    save(file, array)
    return file.getvalue()


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_inputs_end_in_one_line(fault: str, x: Array, tmp_path: Path, run: Run) -> None:
    make, status, words = FAULTS[fault]
    make(tmp_path / "input", x)
    before = sorted(tmp_path.iterdir())
    message = run("encode", tmp_path / "input", tmp_path / "out.tq", status=status).stderr
    assert words in message
    assert str(tmp_path / "input") in message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["x.npy"], 2, "OUT"),
        (["x.npy", "x.tq", "--bits", "9"], 2, "--bits"),
        (["x.npy", "x.tq", "--bits", "0"], 2, "--bits"),
        (["x.npy", "x.tq", "--bits", "four"], 2, "--bits"),
        (["x.npy", "x.tq", "--seed", "-1"], 2, "2**64"),
        (["x.npy", "x.tq", "--scale", "best"], 2, "'--scale': 'best' is not one of 'unbiased'"),
        (["x.npy", "x.tq", "--refine", "7"], 2, "16"),
        (["x.npy", "x.tq", "--threads", "0"], 2, "--threads"),
        (["x.npy", "x.tq", "--bitz", "4"], 2, "--bitz"),
        (["x.npy", "x.tq", "--key", "a"], 2, "no keys"),
        (["x.npy", "codes.npy"], 2, "codes.tq"),
        (["x.npy", "codes.NPZ"], 2, "codes.tq"),
        (["x.npy", "x.npy"], 2, "x.tq"),
        (["x", "x", "--force"], 2, "is an input"),
        (["x.npy", "-"], 2, "nothing is written to stdout"),
        (["x.npy", "."], 1, "is a folder"),
        (["x.npy", "none/x.tq"], 1, "create it first"),
        (["one.npz", "x.tq", "--key", "b"], 2, "a"),
    ],
)
def test_wrong_use_ends_in_one_line(
    args: list[str], status: int, words: str, x: Array, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", x)
    Path("x").write_bytes(Path("x.npy").read_bytes())
    np.savez("one.npz", a=x)
    assert words in run("encode", *args, status=status).stderr
    assert not list(tmp_path.glob("*.tq"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((60_000, 256), dtype=np.float32))
    line = [
        sys.executable,
        "-m",
        "turboquant_rs.cli",
        "encode",
        "x.npy",
        "x.tq",
        "--refine",
        "32",
        "--bits",
        "8",
        "--threads",
        "1",
    ]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*.part")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(0.1)
        assert process.poll() is None, "the input is too small to be interrupted"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]

"""The command as a whole: help, versions, errors and missing packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import turboquant_rs

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")

Run = Callable[..., Any]


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_typer_or_rich_one_line_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from turboquant_rs.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'turboquant-rs[cli]'" in done.stderr


def test_help_and_version(run: Run) -> None:
    assert run("--version").stdout == f"turboquant {turboquant_rs.__version__}\n"
    for text in (run().stdout, run("--help").stdout, run("-h").stdout):
        assert all(name in text for name in ("encode", "search", "info", "demo"))
    for name in ("encode", "search", "info", "demo"):
        text = run(name, "--help").stdout
        assert "--json" in text
        assert max(map(len, text.splitlines())) <= 80
    # Lines end where the terminal does, not where those of the source do.
    assert "an error or Ctrl-C leaves nothing." in run("encode", "--help").stdout
    assert "norm 1" in " ".join(run("search", "--help").stdout.replace("│", " ").split())


@pytest.mark.parametrize("args", [["encod"], ["--bits"], ["info", "a", "b"]])
def test_wrong_commands(args: list[str], run: Run) -> None:
    run(*args, status=2)


@pytest.mark.parametrize("args", [["--debug", "info", "none"], ["info", "none", "--debug"]])
def test_debug_shows_the_traceback(args: list[str], command: Run) -> None:
    done = command(*args)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_a_fault_of_the_program_ends_in_one_line_too(
    x: Any, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("turboquant_rs.cli.encode.encode_block", broken)
    np.save(tmp_path / "x.npy", x)
    message = run("encode", tmp_path / "x.npy", tmp_path / "x.tq", status=1).stderr
    assert "--debug" in message
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_a_full_disk_is_said(x: Any, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("turboquant_rs._files.CodesWriter.write", full)
    np.save(tmp_path / "x.npy", x)
    message = run("encode", tmp_path / "x.npy", tmp_path / "x.tq", status=1).stderr
    assert message == "error: No space left on device; free some space, or write to another disk\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_output_into_a_closed_pipe_is_quiet(x: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.repeat(x, 200, axis=0))
    line = f"{sys.executable} -m turboquant_rs.cli info {tmp_path / 'x.npy'} | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"NO_COLOR": "1"}])
def test_terminals_without_unicode_or_colour(env: dict[str, str], x: Any, tmp_path: Path, command: Run) -> None:
    np.save(tmp_path / "x.npy", x)
    for args in (["--help"], ["info", tmp_path / "x.npy"], ["info"]):
        done = command(*args, **env)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert "\x1b" not in done.stdout

"""Ways to run `turboquant`: in this process by typer's runner, or as a command of its own."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def run() -> Callable[..., Any]:
    """run("info", path) → typer's result, after the checks that hold for every command."""
    from turboquant_rs.cli.app import app
    from typer.testing import CliRunner

    # Click 8.1 mixes stderr into stdout unless told otherwise; later versions lack the word.
    separate = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}

    def run(*args: object, status: int = 0) -> Any:
        result = CliRunner(**separate).invoke(app, [str(arg) for arg in args])
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        if status:
            assert result.stderr.startswith("error: ")
            assert len(result.stderr.splitlines()) == 1
            assert result.stdout == ""
        else:
            assert result.stderr == ""
        if status == 0 and "--json" in args:
            assert result.stdout.count("\n") == 1
        return result

    return run


@pytest.fixture
def run_json(run: Callable[..., Any]) -> Callable[..., Any]:
    """The parsed answer of a command with --json."""
    return lambda *args: json.loads(run(*args, "--json").stdout, parse_constant=pytest.fail)


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as a process."""

    def command(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "turboquant_rs.cli", *map(str, args)]
        return subprocess.run(line, capture_output=True, text=True, encoding="utf-8", env=os.environ | env, check=False)

    return command


@pytest.fixture
def x() -> NDArray[np.float32]:
    """A hundred vectors."""
    return np.random.default_rng(7).standard_normal((100, 24)).astype(np.float32)

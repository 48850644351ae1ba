"""`turboquant demo`: numbers near theory, a figure, and both kinds of output."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")

Run = Callable[..., Any]


@pytest.fixture
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turboquant_rs.cli.measure.RUNS", 1)


@pytest.mark.usefixtures("few_runs")
def test_json(tmp_path: Path, run_json: Run) -> None:
    pytest.importorskip("matplotlib", reason="the figure needs matplotlib")
    report = run_json("demo", "--out", tmp_path / "new" / "folder", "--threads", 1)
    assert report.items() >= {"vectors": 5000, "queries": 200, "dim": 384, "threads": 1}.items()
    rows = {row["bits"]: row for row in report["measured"]}
    assert list(rows) == [1, 2, 3, 4, 8]
    for bits, row in rows.items():
        assert row["bytes_per_vector"] == 48 * bits + 4
        assert row["distortion"] == pytest.approx(row["theory_distortion"], rel=0.02)
        assert row["one_at_10"] >= row["overlap_at_10"]
        assert row["vectors_per_second"] > 0
    overlaps = [row["overlap_at_10"] for row in rows.values()]
    assert overlaps == sorted(overlaps)
    assert overlaps[0] > 0.65
    assert overlaps[-1] > 0.99
    assert report["float32"]["queries_per_second"] > 0
    assert len(report["answers"]) == 3
    for answer in report["answers"]:
        for near in answer["nearest"]:
            assert near["score"] == pytest.approx(near["exact"], abs=0.03)
    picture = Path(report["figure"])
    assert picture == tmp_path / "new" / "folder" / "demo.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("few_runs")
def test_text_fits_eighty_columns(tmp_path: Path, run: Run) -> None:
    text = run("demo", "--out", tmp_path).stdout
    assert max(map(len, text.splitlines())) <= 81  # a combining accent takes a character and no column
    for word in ("10@10", "1@10", "theory", "32", "macaque"):
        assert word in text


def test_without_matplotlib_the_rest_is_shown(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import turboquant_rs.cli.measure as measure; measure.RUNS = 1\n"
        "from turboquant_rs.cli import main; main()"
    )
    line = [sys.executable, "-c", code, "demo", "--out", str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'turboquant-rs[viz]'" in done.stdout
    assert not (tmp_path / "out").exists()


def test_the_folder_must_not_be_a_file(tmp_path: Path, run: Run) -> None:
    (tmp_path / "out").write_text("")
    assert "--out" in run("demo", "--out", tmp_path / "out", status=1).stderr

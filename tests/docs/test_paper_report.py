"""docs/papers/report.md is what its script makes of the stored numbers; the claims in its words hold for them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches" / "results" / "paper.json"

if not RESULTS.is_file():
    pytest.skip("no benchmarks beside the tests", allow_module_level=True)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def script() -> ModuleType:
    pytest.importorskip("matplotlib")
    path = ROOT / "benches" / "paper_report.py"
    spec = importlib.util.spec_from_file_location("paper_report", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_report_is_of_the_stored_numbers(results: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "papers" / "report.md").read_text(encoding="utf-8")
    assert text == script().report(results), "python benches/paper.py --redraw"


def test_the_pictures_are_there() -> None:
    for name in ("distortion", "inner-products", "variances", "recall"):
        assert (ROOT / "docs" / "papers" / f"{name}.png").stat().st_size > 10_000


def test_distortion_is_between_the_bounds(results: dict[str, Any]) -> None:
    for row in results["distortion"]:
        for name in ("random", "glosses"):
            assert row["shannon"] < row[f"{name}_refined"] < row[f"{name}_mse"] * 1.0001
            assert row[f"{name}_mse"] <= row[f"{name}_paper"] < row["upper_bound"]
            assert row[f"{name}_paper"] == pytest.approx(row["theory"], rel=0.01)


def test_variances_are_within_five_percent_of_theory(results: dict[str, Any]) -> None:
    for row in results["variances"]:
        assert row["measured"] == pytest.approx(row["theory"], rel=0.05), row


def test_the_order_of_methods_at_two_bits(results: dict[str, Any]) -> None:
    """What the words say of 1@1: unbiased scale and Extended RaBitQ, mse, prod with orthogonal, with Gaussian S."""
    first = {row["name"]: row["recall"][0] for row in results["recall"] if row["bits"] == 2}
    assert abs(first["unbiased"] - first["Extended RaBitQ"]) < 0.03
    assert first["unbiased"] > first["mse"] > first["prod, orthogonal S"] > first["prod, Gaussian S"]

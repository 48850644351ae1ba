"""docs/papers/report.md is what its script makes of the stored numbers; the claims in its words hold for them."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches" / "results" / "paper.json"
REPORT = ROOT / "docs" / "papers" / "report.md"

if not RESULTS.is_file():
    pytest.skip("no benchmarks beside the tests", allow_module_level=True)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def script() -> ModuleType:
    path = ROOT / "benches" / "paper_report.py"
    spec = importlib.util.spec_from_file_location("paper_report", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def first(results: dict[str, Any], bits: int) -> dict[str, float]:
    """1@1 by method."""
    return {row["name"]: row["recall"][0] for row in results[f"recall_{bits}"]}


def noise(results: dict[str, Any]) -> float:
    """Two standard errors of a share of 0.8 among the queries, as the report says."""
    return float(2 * (0.16 / results["data"]["queries"]) ** 0.5)


def test_the_report_is_of_the_stored_numbers(results: dict[str, Any]) -> None:
    assert REPORT.read_text(encoding="utf-8") == script().report(results), "python benches/paper.py --redraw"


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([\w-]+\.png)\)", REPORT.read_text(encoding="utf-8"))
    assert len(pictures) == 7
    for name in pictures:
        assert (REPORT.parent / name).stat().st_size > 10_000
    assert sorted(pictures) == sorted(path.name for path in REPORT.parent.glob("*.png"))


def test_every_figure_says_what_agrees_what_differs_and_why() -> None:
    parts = REPORT.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(parts) == 7
    for part in parts[:-1]:
        assert "Agrees:" in part, part.splitlines()[0]
        assert "Differs:" in part, part.splitlines()[0]
        assert "Why:" in part, part.splitlines()[0]


def test_distortion_is_between_the_bounds(results: dict[str, Any]) -> None:
    for row in results["distortion"]:
        for name in ("random", "glosses"):
            assert row["shannon"] < row[f"{name}_refined"] < row[f"{name}_mse"] * 1.0001
            assert row[f"{name}_mse"] <= row[f"{name}_paper"] < row["upper_bound"]
            assert row[f"{name}_paper"] == pytest.approx(row["theory"], rel=0.01)


def test_errors_of_inner_products(results: dict[str, Any]) -> None:
    """The words: mse shrinks, the others do not; the unbiased scale's deviation is the least of the ten nearest's."""
    rows = {(row["bits"], row["name"]): row for row in results["inner_products"]["table"]}
    for bits in (1, 2, 3, 4):
        assert rows[bits, "mse"]["near_mean"] < -0.002
        for name in ("unbiased", "prod, Gaussian S", "prod, orthogonal S"):
            assert abs(rows[bits, name]["near_mean"]) < 0.2 * rows[bits, name]["near_std"]
            # At one bit the two are one code: a rotation's signs.
            assert rows[bits, "unbiased"]["near_std"] <= rows[bits, name]["near_std"]
        assert bits == 1 or rows[bits, "unbiased"]["near_std"] < rows[bits, "mse"]["near_std"]


def test_variances_are_within_five_percent_of_theory(results: dict[str, Any]) -> None:
    for row in results["variances"]:
        assert row["measured"] == pytest.approx(row["theory"], rel=0.05), row


def test_the_order_of_methods(results: dict[str, Any]) -> None:
    """What the words say of 1@1: fitted, unbiased scale and Extended RaBitQ, mse, prod; at 4 bits nearly so."""
    two, four = first(results, 2), first(results, 4)
    assert abs(two["unbiased"] - two["Extended RaBitQ"]) < noise(results)
    assert two["fitted"] > two["unbiased"] > two["mse"] > two["prod, orthogonal S"] > two["prod, Gaussian S"]
    assert four["unbiased"] > four["mse"] > four["prod, Gaussian S"]
    assert abs(four["mse"] - four["prod, orthogonal S"]) < noise(results)
    for row in results["recall_4"]:
        assert row["recall"] == sorted(row["recall"])
        assert row["recall"][3] > 0.98, "near-perfect at small k"


def test_polar_quant_s_rate(results: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in results["polar"]}
    paper = rows["PolarQuant(4, 2, 2, 2)"]
    assert paper["rate"] == 3.875
    assert paper["glosses"] == pytest.approx(0.0321, rel=0.01)
    assert rows["TurboQuant, 4 bits"]["glosses"] < paper["glosses"] < rows["TurboQuant, 3 bits"]["glosses"]


def test_entropies_are_those_of_theory(results: dict[str, Any]) -> None:
    """Codes of rotated embeddings are used as the law says, and so are those of the uniform quantiser."""
    for row in results["entropy"]:
        assert row["measured"] == pytest.approx(row["theory"], abs=0.002)
        assert row["uniform_measured"] == pytest.approx(row["uniform"], abs=0.002)
        assert row["uniform_error"] == pytest.approx(row["distortion"], rel=0.01)
        assert row["uniform"] < row["theory"] <= row["huffman"] + 1e-12

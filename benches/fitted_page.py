"""The table and the figure of docs/fitted.md, from benches/results/fitted.json.

    python benches/fitted_page.py

Figures need matplotlib (pip install 'turboquant-rs[viz]').
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import harness
from fitted import CONTESTANTS
from turboquant_rs.viz import Point, save_recall_figure

DOCS = Path(__file__).resolve().parents[1] / "docs"
START, END = "<!-- table -->\n", "<!-- /table -->"


def rows(cells: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table: a set and a number of bits a line, a contestant a column."""
    names = [name for name in CONTESTANTS if any(cell["what"] == name for cell in cells)]
    lines = ["| set | bits | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for key in dict.fromkeys((cell["set"], cell["bits"]) for cell in cells):
        found = {cell["what"]: cell for cell in cells if (cell["set"], cell["bits"]) == key}
        places = [f"{found[n]['10@10']:.3f} at {found[n]['bytes_per_vector']:.0f}" if n in found else "" for n in names]
        lines.append(f"| {key[0]} | {key[1]:g} | " + " | ".join(places) + " |")
    return lines


def main() -> None:
    """Write the table into the page, and the figure beside it."""
    result = json.loads((harness.RESULTS / "fitted.json").read_text())
    cells = result["cells"]
    page = DOCS / "fitted.md"
    before, rest = page.read_text().split(START)
    after = rest.split(END)[1]
    text = "\n".join(["10@10 at bytes a vector, scale included; fits see no row of the base.", "", *rows(cells)])
    page.write_text(before + START + text + "\n" + END + after)
    first = [cell for cell in cells if cell["set"] == cells[0]["set"]]
    curves: dict[str, list[Point]] = {}
    for cell in first:
        label = f"{cell['bits']:g} bits" if cell["what"] == "fitted" else ""
        curves.setdefault(cell["what"], []).append(Point(cell["bytes_per_vector"], cell["10@10"], label))
    save_recall_figure(
        DOCS / "fitted.png", curves, title="Recall (10@10) against bytes a vector", subtitle=first[0]["set"]
    )
    print("written:", page.name, "fitted.png")


if __name__ == "__main__":
    main()

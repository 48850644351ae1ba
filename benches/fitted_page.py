"""The tables and the figure of docs/fitted.md, from benches/results/fitted.json.

    python benches/fitted_page.py

Figures need matplotlib (pip install 'turboquant-rs[viz]').
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from fitted import CONTESTANTS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from turboquant_rs.viz import COLOURS

DOCS = Path(__file__).resolve().parents[1] / "docs"
#: Sets whose seconds and rates the page shows.
SPEEDS = ("100k glosses, MiniLM", "embedding_like 768", "50k SIFT 128, unit norm")


def recall(cell: dict[str, Any]) -> str:
    """Return a cell of the table of what is found."""
    return f"{cell['10@10']:.3f} at {cell['bytes_per_vector']:.0f}"


def speed(cell: dict[str, Any]) -> str:
    """Return a cell of the table of seconds and rates."""
    seconds = cell["fit_seconds"]
    fit = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
    return f"{fit} s, {cell['encode_rows_per_second'] / 1000:.0f}k/s"


def rows(cells: list[dict[str, Any]], text: Callable[[dict[str, Any]], str]) -> list[str]:
    """Return the lines of a table: a set and a number of bits a line, a contestant a column."""
    names = [name for name in CONTESTANTS if any(cell["what"] == name for cell in cells)]
    lines = ["| set | bits | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for key in dict.fromkeys((cell["set"], cell["bits"]) for cell in cells):
        found = {cell["what"]: cell for cell in cells if (cell["set"], cell["bits"]) == key}
        places = [text(found[name]) if name in found else "" for name in names]
        lines.append(f"| {key[0]} | {key[1]:g} | " + " | ".join(places) + " |")
    return lines


def draw(cells: list[dict[str, Any]], path: Path) -> None:
    """Draw recall against bytes: a panel for each contestant beside the fitted codec, all others in grey.

    On one pair of axes seven lines lie on each other, since all but one are within two points of recall.
    """
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for cell in cells:
        point = (cell["bytes_per_vector"], cell["10@10"], cell["bits"])
        curves.setdefault(cell["what"], []).append(point)
    others = [name for name in curves if not name.startswith("fitted")]
    drawn = Figure(figsize=(9.6, 3.1 * -(-len(others) // 3)), dpi=140, layout="constrained")
    FigureCanvasAgg(drawn)
    for i, name in enumerate(others):
        axis = drawn.add_subplot(-(-len(others) // 3), 3, i + 1)
        for points in curves.values():
            axis.plot(*zip(*(p[:2] for p in points), strict=True), color="#c8c8c8", linewidth=0.8, zorder=1)
        for which, colour, marker in (("fitted", COLOURS[0], "o"), (name, COLOURS[1], "s")):
            axis.plot(*zip(*(p[:2] for p in curves[which]), strict=True), color=colour, marker=marker, markersize=4)
        for x, y, bits in curves["fitted"]:
            axis.annotate(
                f"{bits:g}", (x, y), (-4, 5), textcoords="offset points", color=COLOURS[0], ha="right", fontsize=8
            )
        axis.set_title(f"fitted (bits) and {name}", loc="left", fontsize=9.5)
        axis.set_xscale("log", base=2)
        axis.set_xlim(22, 270)
        axis.set_ylim(0.58, 1.02)
        axis.xaxis.set_major_locator(FixedLocator([28, 52, 100, 196]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels(["28", "52", "100", "196"])
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.grid(axis="y", color="#e2e2e2")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    drawn.suptitle(f"Recall (10@10) against bytes a vector: {cells[0]['set']}", fontsize=12)
    drawn.supxlabel("bytes per vector (scale included, logarithmic)", fontsize=10)
    drawn.savefig(path)


def put(page: str, mark: str, caption: str, lines: list[str]) -> str:
    """Return the page with a table between its marks."""
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, rest = page.split(start)
    return before + start + "\n".join([caption, "", *lines]) + "\n" + end + rest.split(end)[1]


def main() -> None:
    """Write the tables into the page, and the figure beside it."""
    result = json.loads((harness.RESULTS / "fitted.json").read_text())
    cells = result["cells"]
    page = DOCS / "fitted.md"
    text = page.read_text()
    text = put(
        text, "table", "10@10 at bytes a vector, scale included; fits see no row of the base.", rows(cells, recall)
    )
    cpu, fast = result["machine"]["cpu"], [cell for cell in cells if cell["set"] in SPEEDS]
    caption = (
        f"Seconds to fit, train or calibrate on all cores, thousands of rows added to an index a second by one: {cpu}."
    )
    page.write_text(put(text, "speed", caption, rows(fast, speed)))
    first = [cell for cell in cells if cell["set"] == cells[0]["set"]]
    draw(first, DOCS / "fitted.png")
    print("written:", page.name, "fitted.png")


if __name__ == "__main__":
    main()

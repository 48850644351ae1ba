"""Figures, with matplotlib (pip install 'turboquant-rs[viz]')."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

#: Okabe and Ito's colours, which people who confuse red and green tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_INK, _SOFT, _GRID = "#222222", "#666666", "#dddddd"


@dataclass(frozen=True)
class Point:
    """A place in the figure: bytes of one vector, recall from 0 to 1, and what is written beside it."""

    bytes_per_vector: float
    recall: float
    label: str = ""


def save_recall_figure(
    path: str | os.PathLike[str],
    curves: Mapping[str, Sequence[Point]],
    *,
    exact: Sequence[Point] = (),
    title: str = "",
    subtitle: str = "",
) -> None:
    """Draw recall against bytes per vector and write it as a picture.

    Parameters
    ----------
    path : path
        The ending chooses the format: .png, .svg, .pdf.
    curves : mapping of str to sequence of Point
        Name of a measure (as "10@10") to its points, fewest bytes first.
    exact : sequence of Point
        Uncompressed formats, for comparison.
    title, subtitle : str
    """
    figure = Figure(figsize=(7.2, 4.5), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, (name, points) in enumerate(curves.items()):
        colour, marker = COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)]
        x, y = [p.bytes_per_vector for p in points], [p.recall for p in points]
        (line,) = axes.plot(
            x, y, label=name, color=colour, marker=marker, linewidth=2, markersize=7, zorder=4 - 0.1 * i
        )
        line.set_markeredgecolor("white")
        _label(axes, points, (10, -11), "left", colour)
    if exact:
        x, y = [p.bytes_per_vector for p in exact], [p.recall for p in exact]
        axes.scatter(x, y, s=55, marker="D", facecolor="white", edgecolor=_SOFT, linewidth=1.5, zorder=3, label="exact")
        _label(axes, exact, (0, -18), "center", _SOFT)
    _dress(axes, sorted({p.bytes_per_vector for points in (*curves.values(), exact) for p in points}))
    axes.legend(loc="lower right", frameon=False, labelcolor=_INK, fontsize=10)
    if title:
        axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=24 if subtitle else 8)
    if subtitle:
        axes.annotate(
            subtitle, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", color=_SOFT, fontsize=9.5
        )
    figure.savefig(path)


def _dress(axes: Axes, sizes: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    low = min(axes.dataLim.y0, 0.9)
    axes.set_ylim(max(0.0, low - 0.06), 1.025)
    axes.xaxis.set_major_locator(FixedLocator(_apart(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("bytes per vector (scale included, logarithmic)", color=_INK)
    axes.set_ylabel("recall (% of queries' true neighbours found)", color=_INK)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_SOFT)


def _apart(sizes: Sequence[float], ratio: float = 1.2) -> list[float]:
    """Leave out sizes whose tick labels would touch."""
    ticks: list[float] = []
    for size in sizes:
        if not ticks or size > ratio * ticks[-1]:
            ticks.append(size)
    return ticks


def _label(axes: Axes, points: Sequence[Point], offset: tuple[float, float], align: str, colour: str) -> None:
    for point in points:
        if point.label:
            place = (point.bytes_per_vector, point.recall)
            axes.annotate(point.label, place, offset, textcoords="offset points", ha=align, color=colour, fontsize=9.5)

"""The pictures of ``paper.py``, from its numbers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from turboquant_rs.viz import COLOURS

RANKS = (1, 2, 4, 8, 16, 32, 64)
PICTURES = ("distortion", "inner-products", "by-size", "variances", "recall", "polar", "entropy")
#: Colour and line of an estimator, the same in every picture.
STYLES = {
    "mse": (COLOURS[0], "-"),
    "unbiased": (COLOURS[2], "-"),
    "unbiased scale": (COLOURS[2], "-"),
    "prod, Gaussian S": (COLOURS[1], "--"),
    "prod, orthogonal S": (COLOURS[3], ":"),
}
_GREY, _INK = "#c8c8c8", "#222222"


def draw(results: dict[str, Any], out: Path) -> None:
    """Write the pictures to the folder ``out``."""
    drawn = {
        "distortion": draw_distortion(results["distortion"]),
        "inner-products": draw_histograms(results["inner_products"]["histograms"]),
        "by-size": draw_sizes(results["inner_products"]),
        "variances": draw_variances(results["variances"]),
        "recall": draw_recall({bits: results[f"recall_{bits}"] for bits in (2, 4)}),
        "polar": draw_polar(results["polar"]),
        "entropy": draw_entropy(results["entropy"]),
    }
    for name in PICTURES:
        drawn[name].savefig(out / f"{name}.png")


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (4.6, 3.9)) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes in rows and columns, ``size`` inches each."""
    drawn = Figure(figsize=(size[0] * columns, size[1] * rows), dpi=140, layout="constrained")
    FigureCanvasAgg(drawn)
    axes = [drawn.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for axis in axes:
        axis.grid(color="#e2e2e2")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return drawn, axes


def beside(axis: Axes, x: float, y: float, text: str, colour: str, place: tuple[int, int] = (6, 0)) -> None:
    """Write a label beside a point, in its line's colour."""
    axis.annotate(
        text, (x, y), place, textcoords="offset points", color=colour, va="center", fontsize=9, annotation_clip=False
    )


def draw_distortion(rows: list[dict[str, Any]]) -> Figure:
    """Distortion against bits between the bounds; beside it, times 4^bits, where the lines can be told apart."""
    drawn, axes = figure(1, 2)
    bits = [row["bits"] for row in rows]
    series = (
        ("upper_bound", "paper's upper bound\n(Theorem 1)", COLOURS[1], "--", ""),
        ("theory", "theory", COLOURS[0], "-", ""),
        ("glosses_paper", "embeddings", COLOURS[0], "", "o"),
        ("random_paper", "random vectors", _INK, "", "x"),
        ("glosses_refined", "embeddings, refine=16,\nleast-error scale", COLOURS[2], "-", "s"),
        ("shannon", "Shannon's lower bound\n(Theorem 3)", COLOURS[3], ":", ""),
    )
    for key, label, colour, line, marker in series:
        values = [row[key] for row in rows]
        axes[0].semilogy(bits, values, linestyle=line or "none", marker=marker, color=colour, label=label, markersize=5)
        axes[1].plot(
            bits,
            [value * 4**b for value, b in zip(values, bits, strict=True)],
            linestyle=line or "none",
            marker=marker,
            color=colour,
            markersize=5,
        )
    axes[0].set_ylabel("distortion E|x − x̂|²")
    axes[1].set_ylabel("distortion · 4^bits")
    axes[1].set_ylim(0.8, 2.9)
    for axis in axes:
        axis.set_xlabel("bits a coordinate")
        axis.set_xticks(bits)
    axes[0].legend(fontsize=8)
    return drawn


def draw_histograms(data: dict[str, Any]) -> Figure:
    """Errors of inner products of near neighbours, a panel for each width."""
    drawn, axes = figure(2, 2, (4.6, 2.9))
    for axis, (bits, found) in zip(axes, data.items(), strict=True):
        middles = [(a + b) / 2 for a, b in zip(found["edges"], found["edges"][1:], strict=False)]
        axis.axvline(0, color=_INK, linewidth=0.8)
        for name, heights in found["heights"].items():
            colour, line = STYLES[name]
            axis.plot(middles, heights, line, color=colour, label=name)
        axis.set_title(f"{bits} bit{'s' if bits != '1' else ''}", loc="left", fontsize=11)
        axis.set_ylim(0)
    for axis in axes[2:]:
        axis.set_xlabel("error of ⟨q, x⟩, ten nearest")
    for axis in axes[::2]:
        axis.set_ylabel("density")
    axes[0].legend(fontsize=8)
    return drawn


def draw_sizes(data: dict[str, Any]) -> Figure:
    """Mean and deviation of the error at 2 bits by the size of the inner product (Figure 2 of the paper)."""
    drawn, axes = figure(1, 2, (4.6, 3.2))
    middles = [(a + b) / 2 for a, b in zip(data["sizes"], data["sizes"][1:], strict=False)]
    for name, found in data["by_size"].items():
        colour, line = STYLES[name]
        enough = [i for i, count in enumerate(found["count"]) if count >= 100]
        for axis, key in zip(axes, ("mean", "std"), strict=True):
            axis.plot([middles[i] for i in enough], [found[key][i] for i in enough], line, color=colour, label=name)
    for axis, word in zip(axes, ("mean error", "deviation"), strict=True):
        axis.set_xlabel("⟨q, x⟩, 2 bits")
        axis.set_ylabel(word)
    axes[1].set_ylim(0)
    axes[0].legend(fontsize=8)
    return drawn


def draw_variances(rows: list[dict[str, Any]]) -> Figure:
    """Variance by bits: dots measured, lines theory."""
    drawn, (axis,) = figure(size=(6.2, 3.8))
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        colour, line = STYLES[name]
        axis.semilogy([r["bits"] for r in own], [r["theory"] for r in own], line, color=colour)
        axis.semilogy([r["bits"] for r in own], [r["measured"] for r in own], "o", color=colour)
        beside(axis, own[-1]["bits"], own[-1]["theory"], name, colour, (9, 0))
    axis.set_xlabel("bits a coordinate (lines: theory, dots: measured)")
    axis.set_ylabel("dim · variance at ⟨q, x⟩ = 0")
    axis.set_xticks([1, 2, 3, 4])
    axis.set_xlim(0.85, 5.1)
    return drawn


def family(name: str) -> str:
    """Return a method's name without its setting."""
    return name.partition("(2")[0].partition("(4")[0]


def draw_recall(found: dict[int, list[dict[str, Any]]]) -> Figure:
    """1@k, a panel for each method, its two widths in colour before those of all others in grey."""
    names = list(dict.fromkeys(family(row["name"]) for rows in found.values() for row in rows))
    drawn, axes = figure(-(-len(names) // 4), 4, (2.7, 2.35))
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, names, strict=False):
        for rows in found.values():
            for row in rows:
                axis.plot(RANKS, row["recall"], color=_GREY, linewidth=0.7)
        for (bits, rows), colour in zip(found.items(), (COLOURS[1], COLOURS[0]), strict=True):
            for row in rows:
                if family(row["name"]) == name:
                    axis.plot(RANKS, row["recall"], color=colour, linewidth=2)
                    label = f"{bits} bits: {row['recall'][0]:.3f}"
                    height = 0.12 if bits == 2 else 0.26
                    axis.text(0.97, height, label, transform=axis.transAxes, ha="right", color=colour, fontsize=9)
        axis.set_title(name, loc="left", fontsize=10)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(FixedLocator([1, 4, 16, 64]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels(["1", "4", "16", "64"])
        low = min(row["recall"][0] for rows in found.values() for row in rows)
        axis.set_ylim(max(0.0, low - 0.05), 1.01)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    drawn.supxlabel("k: the true nearest is among the first k; the numbers are for k = 1", fontsize=10)
    return drawn


def draw_polar(rows: list[dict[str, Any]]) -> Figure:
    """Distortion against the rate in all: PolarQuant's settings, TurboQuant's widths, Shannon's bound."""
    drawn, (axis,) = figure(size=(6.2, 3.8))
    rates = [2.9 + 0.05 * i for i in range(41)]
    axis.semilogy(rates, [4.0**-rate for rate in rates], ":", color=COLOURS[3])
    beside(axis, rates[4], 4.0 ** -rates[4], "Shannon's bound", COLOURS[3], (8, 6))
    for row in rows:
        colour = COLOURS[1] if row["name"].startswith("Polar") else COLOURS[0]
        axis.semilogy(row["rate"], row["glosses"], "o", color=colour)
        beside(
            axis,
            row["rate"],
            row["glosses"],
            row["name"].replace(", ", ",") if "Polar" in row["name"] else row["name"],
            colour,
            (8, 0),
        )
    axis.set_xlabel("bits a coordinate in all, scales and radii included")
    axis.set_ylabel("distortion, embeddings")
    axis.set_xlim(2.9, 5.6)
    axis.set_ylim(3e-3, 6e-2)
    return drawn


def draw_entropy(rows: list[dict[str, Any]]) -> Figure:
    """Bits saved at the error of Lloyd–Max codes: by coding them, and by a uniform quantiser in their place."""
    drawn, (axis,) = figure(size=(6.2, 3.6))
    bits = [row["bits"] for row in rows]
    series = (
        ("uniform", "uniform_measured", "uniform quantiser,\nideally coded", COLOURS[2], "-"),
        ("theory", "measured", "Lloyd–Max codes,\nideally coded", COLOURS[0], "-"),
        ("huffman", None, "Lloyd–Max codes,\nHuffman", COLOURS[1], "--"),
    )
    for key, dots, label, colour, line in series:
        axis.plot(bits, [row["bits"] - row[key] for row in rows], line, color=colour)
        if dots:
            axis.plot(bits, [row["bits"] - row[dots] for row in rows], "o", color=colour, markersize=5)
        beside(axis, bits[-1], bits[-1] - rows[-1][key], label, colour, (8, -5 if key == "huffman" else 5))
    axis.set_xlabel("bits of the Lloyd–Max code with the same error (dots: measured)")
    axis.set_ylabel("bits a coordinate saved")
    axis.set_xticks(bits)
    axis.set_xlim(0.8, 10.6)
    axis.set_ylim(-0.01)
    return drawn

"""The figures and the report of ``paper.py``, from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from turboquant_rs.viz import COLOURS

#: The report's words; numbers go where its braces are.
TEMPLATE = Path(__file__).with_name("paper_report.md.in")
PQ = (
    "\nPQ, trained on the very rows that it codes as in the paper, its codebooks (0.4 MB) not counted, is level with "
    "the unbiased scale."
)


def write(results: dict[str, Any], out: Path) -> None:
    """Write four pictures and report.md to the folder ``out``."""
    draw_distortion(results["distortion"], out / "distortion.png")
    draw_histograms(results["inner_products"], out / "inner-products.png")
    draw_variances(results["variances"], out / "variances.png")
    draw_recall(results, out / "recall.png")
    (out / "report.md").write_text(report(results), encoding="utf-8")


def figure(columns: int = 1) -> tuple[Figure, list[Any]]:
    """Return a figure with axes side by side."""
    drawn = Figure(figsize=(5.6 * columns, 4.2), dpi=140, layout="constrained")
    FigureCanvasAgg(drawn)
    axes = [drawn.add_subplot(1, columns, i + 1) for i in range(columns)]
    for axis in axes:
        axis.grid(color="#dddddd")
        axis.spines[["top", "right"]].set_visible(False)
    return drawn, axes


def draw_distortion(rows: list[dict[str, Any]], path: Path) -> None:
    """Distortion against bits, with Shannon's bound and the paper's upper bound."""
    drawn, (axis,) = figure()
    bits = [row["bits"] for row in rows]
    series = (
        ("upper_bound", "paper's upper bound (Theorem 1)", COLOURS[1], "--"),
        ("glosses_paper", "TurboQuant_mse, embeddings", COLOURS[0], "o-"),
        ("random_paper", "TurboQuant_mse, random vectors", COLOURS[2], "x"),
        ("shannon", "Shannon's lower bound (Theorem 3)", COLOURS[3], ":"),
    )
    for key, label, colour, style in series:
        axis.semilogy(bits, [row[key] for row in rows], style, label=label, color=colour)
    axis.set_xlabel("bits a coordinate")
    axis.set_ylabel("distortion E|x − x̂|²")
    axis.legend()
    drawn.savefig(path)


def draw_histograms(data: dict[str, Any], path: Path) -> None:
    """Errors of inner products of near neighbours at 2 bits."""
    drawn, (axis,) = figure()
    middles = [(a + b) / 2 for a, b in zip(data["edges"], data["edges"][1:], strict=False)]
    for (name, heights), colour in zip(data["histograms"].items(), COLOURS, strict=False):
        axis.plot(middles, heights, label=name, color=colour)
    axis.axvline(0, color="#222222", linewidth=0.8)
    axis.set_xlabel("error of ⟨q, x⟩ for the true ten nearest, 2 bits")
    axis.set_ylabel("density")
    axis.legend()
    drawn.savefig(path)


def draw_variances(rows: list[dict[str, Any]], path: Path) -> None:
    """Variance by bits: dots measured, lines theory."""
    drawn, (axis,) = figure()
    names = list(dict.fromkeys(row["name"] for row in rows))
    for name, colour in zip(names, COLOURS, strict=False):
        own = [row for row in rows if row["name"] == name]
        axis.semilogy([r["bits"] for r in own], [r["theory"] for r in own], "-", color=colour, label=f"{name}, theory")
        axis.semilogy([r["bits"] for r in own], [r["measured"] for r in own], "o", color=colour)
    axis.set_xlabel("bits a coordinate")
    axis.set_ylabel("dim · variance at ⟨q, x⟩ = 0")
    axis.set_xticks([1, 2, 3, 4])
    axis.legend()
    drawn.savefig(path)


def draw_recall(results: dict[str, Any], path: Path) -> None:
    """1@k at 2 and 4 bits."""
    drawn, axes = figure(2)
    for axis, bits in zip(axes, (2, 4), strict=True):
        own = [row for row in results["recall"] if row["bits"] == bits]
        for i, row in enumerate(own):
            style = "-" if i < len(COLOURS) else "--"
            axis.semilogx(results["ranks"], row["recall"], style, color=COLOURS[i % len(COLOURS)], label=row["name"])
        axis.set_xticks(results["ranks"], [str(k) for k in results["ranks"]])
        axis.minorticks_off()
        axis.set_xlabel(f"k, {bits} bits")
        axis.set_ylabel("1@k")
        axis.legend(fontsize="small")
    drawn.savefig(path)


def table(head: Sequence[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def number(value: float) -> str:
    """Return four significant digits."""
    return f"{value:.4g}"


def report(results: dict[str, Any]) -> str:
    """Return the text of report.md."""
    bits = results["distortion"]
    distortion = table(
        [
            "bits",
            "Shannon",
            "theory",
            "random",
            "embeddings",
            "embeddings, least-error scale",
            "same, refine=16",
            "upper bound",
        ],
        [
            [str(r["bits"])]
            + [
                number(r[key])
                for key in (
                    "shannon",
                    "theory",
                    "random_paper",
                    "glosses_paper",
                    "glosses_mse",
                    "glosses_refined",
                    "upper_bound",
                )
            ]
            for r in bits
        ],
    )
    products = table(
        ["bits", "estimator", "mean, all pairs", "std", "mean, ten nearest", "std"],
        [
            [
                str(r["bits"]),
                r["name"],
                f"{r['mean']:+.4f}",
                f"{r['std']:.4f}",
                f"{r['near_mean']:+.4f}",
                f"{r['near_std']:.4f}",
            ]
            for r in results["inner_products"]["table"]
        ],
    )
    variances = table(
        ["bits", "estimator", "measured", "standard error", "theory", "ratio"],
        [
            [
                str(r["bits"]),
                r["name"],
                number(r["measured"]),
                f"{r['error']:.1e}",
                number(r["theory"]),
                f"{r['measured'] / r['theory']:.3f}",
            ]
            for r in results["variances"]
        ],
    )
    recall = table(
        ["bits", "method", "bytes", *(f"1@{k}" for k in results["ranks"])],
        [[str(r["bits"]), r["name"], f"{r['bytes']:g}", *(f"{v:.3f}" for v in r["recall"])] for r in results["recall"]],
    )
    polar = table(
        ["code", "bits a coordinate in all", "distortion"],
        [[r["name"], f"{r['rate']:.3f}", number(r["distortion"])] for r in results["polar"]],
    )
    entropy = table(
        ["bits", "entropy of the codes, measured", "by the cells' masses", "uniform quantiser of the same error"],
        [
            [str(r["bits"]), f"{r['measured']:.4f}", f"{r['theory']:.4f}", f"{r['uniform']:.4f}"]
            for r in results["entropy"]
        ],
    )
    times = table(
        ["codec, 4 bits", "vectors a second"], [[name, f"{rate:,.0f}"] for name, rate in results["encode"].items()]
    )
    trained = any("PQ" in row["name"] for row in results["recall"])
    pq = PQ if trained else " PQ is left out: FAISS was not installed."
    machine = results["machine"]
    return TEMPLATE.read_text(encoding="utf-8").format(
        distortion=distortion,
        products=products,
        variances=variances,
        recall=recall,
        polar=polar,
        entropy=entropy,
        times=times,
        pq=pq,
        cpu=machine["cpu"],
        level=machine["level"],
    )

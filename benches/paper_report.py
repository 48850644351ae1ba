"""The report of ``paper.py``, from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: The report's words; numbers go where its braces are.
TEMPLATE = Path(__file__).with_name("paper_report.md.in")


def write(results: dict[str, Any], out: Path) -> None:
    """Write the pictures and report.md to the folder ``out``."""
    import paper_figures

    paper_figures.draw(results, out)
    (out / "report.md").write_text(report(results), encoding="utf-8")


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
    polar = table(
        ["code", "bits a coordinate in all", "distortion, random", "embeddings"],
        [[r["name"], f"{r['rate']:.3f}", number(r["random"]), number(r["glosses"])] for r in results["polar"]],
    )
    times = table(
        ["codec, 4 bits", "vectors a second"], [[name, f"{rate:,.0f}"] for name, rate in results["encode"].items()]
    )
    data, machine = results["data"], results["machine"]
    return TEMPLATE.read_text(encoding="utf-8").format(
        **data_words(data),
        distortion=distortion,
        products=products,
        variances=variances,
        recall=recall_table(results),
        **recall_words(results),
        polar=polar,
        **polar_words(results["polar"]),
        entropy=entropy_table(results["entropy"]),
        **entropy_words(results["entropy"]),
        times=times,
        cpu=machine["cpu"],
        level=machine["level"],
    )


def data_words(data: dict[str, int]) -> dict[str, str]:
    """Return what the report says of its data."""
    fitted = f"{data['train']:,} others" if data["train"] else "the very rows that they code (the full set has others)"
    return {
        "rows": f"{data['base']:,}",
        "queries": f"{data['queries']:,}",
        "random": f"{data['random']:,}",
        "dim": str(data["dim"]),
        "seeds": f"{data['seeds']} seeds",
        "pairs": f"{data['base'] * data['queries']:,}",
        "near": f"{10 * data['queries']:,}",
        "fitted": fitted,
        # Two deviations of a share of 0.8 among so many queries.
        "noise": f"{2 * (0.16 / data['queries']) ** 0.5:.3f}",
    }


def recall_table(results: dict[str, Any]) -> str:
    """Return 1@k by method, for both widths."""
    ranks = (1, 2, 4, 8, 16, 32, 64)
    rows = [(bits, row) for bits in (2, 4) for row in results[f"recall_{bits}"]]
    return table(
        ["bits", "method", "bytes", *(f"1@{k}" for k in ranks)],
        [[str(bits), r["name"], f"{r['bytes']:g}", *(f"{v:.3f}" for v in r["recall"])] for bits, r in rows],
    )


def first(results: dict[str, Any], bits: int) -> dict[str, float]:
    """Return 1@1 by method."""
    return {row["name"]: row["recall"][0] for row in results[f"recall_{bits}"]}


def recall_words(results: dict[str, Any]) -> dict[str, str]:
    """Return the sentences about recall that numbers go into."""
    two, four = first(results, 2), first(results, 4)
    trained = [name for name in two if name.startswith("PQ")]
    pq = "PQ is left out: FAISS was not installed."
    if trained:
        pq = (
            f"PQ is trained on the very rows that it codes, as in the paper, and its codebooks (0.4 MB) are not "
            f"counted: {two[trained[0]]:.3f} and {four[trained[0]]:.3f}."
        )
    return {
        "pq": pq,
        "two": ", ".join(f"{two[name]:.3f} {name}" for name in ("fitted", "Extended RaBitQ", "unbiased", "mse")),
        "prod_two": f"{two['prod, Gaussian S']:.3f} with Gaussian S, {two['prod, orthogonal S']:.3f} with orthogonal S",
        "prod_four": f"{four['prod, orthogonal S']:.3f} beside {four['mse']:.3f}",
    }


def polar_words(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return PolarQuant's distortion at the paper's setting, and that of three bits of levels, with their rates."""
    by_name = {row["name"]: row for row in rows}
    paper, three = by_name["PolarQuant(4, 2, 2, 2)"], by_name["TurboQuant, 3 bits"]
    return {
        "polar_distortion": number(paper["glosses"]),
        "polar_rate": f"{paper['rate']:.3f}",
        "three_distortion": number(three["glosses"]),
        "three_rate": f"{three['rate']:.3f}",
    }


def entropy_table(rows: list[dict[str, Any]]) -> str:
    """Return entropies by bits."""
    return table(
        [
            "bits",
            "entropy of the codes, theory",
            "measured",
            "Huffman",
            "uniform quantiser of the same error",
            "measured (its error, times Lloyd–Max's)",
            "error of a uniform quantiser at as many bits, times Lloyd–Max's",
        ],
        [
            [
                str(r["bits"]),
                f"{r['theory']:.4f}",
                f"{r['measured']:.4f}",
                f"{r['huffman']:.4f}",
                f"{r['uniform']:.4f}",
                f"{r['uniform_measured']:.4f} ({r['uniform_error'] / r['distortion']:.3f})",
                f"{r['same_rate'] / r['distortion']:.3f}",
            ]
            for r in rows
        ],
    )


def entropy_words(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the savings at four bits."""
    four = rows[3]
    saved = {key: 4 - four[key] for key in ("theory", "huffman", "uniform")}
    words = {f"{key}_saved": f"{bits:.2f} bit, {100 * bits / 4:.1f} %" for key, bits in saved.items()}
    words["uniform_gains"] = " / ".join(f"{r['bits'] - r['uniform']:.2f}" for r in rows[1:4])
    return words

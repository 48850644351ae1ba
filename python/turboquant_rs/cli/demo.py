"""`turboquant demo`: size, distortion, recall and speed on real text embeddings, with some queries to read."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .. import simd
from ..index import Index
from ._options import Json, Seed, Threads
from ._output import Failure, progress, rate, show, write_json
from .info import cores
from .measure import RUNS, K, Measured, brute_force_rate, measure

if TYPE_CHECKING:
    from ..evaluation.datasets import Glosses

BITS = (1, 2, 3, 4, 8)
#: Bits of the index that answers the text queries.
SHOWN_BITS = 4
#: Starts of the texts of three queries that are understood without context.
ASKED = ("macaque", "matrix algebra", "drafting, mechanical drawing")


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where demo.png goes; made if missing.")] = Path(
        "out"
    ),
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Show size, distortion, recall and speed on a sample that comes with the package.

    5,000 WordNet glosses and 200 queries that are not among them, as 384-dimensional text embeddings (MiniLM).
    """
    from ..evaluation.datasets import load_glosses_sample
    from ..evaluation.neighbors import true_neighbors

    start = time.perf_counter()
    if out.exists() and not out.is_dir():
        raise Failure(f"{out} is a file; name a folder with --out")
    threads = threads or cores()
    glosses = load_glosses_sample()
    truth = true_neighbors(glosses.base, glosses.queries, K)
    measured: dict[int, Measured] = {}
    with progress("measure", len(glosses.base) * (len(BITS) + 1), False if json else None) as advance:
        for bits in BITS:
            measured[bits], index = measure(glosses, truth, bits, seed, threads)
            if bits == SHOWN_BITS:
                answers = _answers(glosses, index)
            advance(len(glosses.base))
        exact = brute_force_rate(threads)
        advance(len(glosses.base))
    figure = _figure(out, list(measured.values()), glosses.base.shape[1])
    report = {
        "vectors": len(glosses.base),
        "queries": len(glosses.queries),
        "dim": glosses.base.shape[1],
        "seed": seed,
        "threads": threads,
        "simd": simd.level(),
        "runs": RUNS,
        "measured": [asdict(row) for row in measured.values()],
        "float32": {"bytes_per_vector": 4 * glosses.base.shape[1], "queries_per_second": exact},
        "answers_bits": SHOWN_BITS,
        "answers": answers,
        "figure": None if figure is None else str(figure),
        "seconds": time.perf_counter() - start,
    }
    if json:
        write_json(report)
    else:
        show(*_parts(report))


def _answers(glosses: Glosses, index: Index) -> list[dict[str, Any]]:
    texts = glosses.query_texts
    asked = [i for start in ASKED for i, text in enumerate(texts) if text.startswith(f"{start}:")]
    answers = []
    for i in asked or range(3):
        scores, ids = index.search(glosses.queries[i], 3)
        cosines = glosses.base[ids] @ glosses.queries[i]
        nearest = [
            {"id": int(row), "score": float(score), "exact": float(cosine), "text": glosses.base_texts[row]}
            for row, score, cosine in zip(ids, scores, cosines, strict=True)
        ]
        answers.append({"text": texts[i], "nearest": nearest})
    return answers


def _figure(out: Path, measured: list[Measured], dim: int) -> Path | None:
    """Draw recall against bytes; None without matplotlib."""
    try:
        from ..viz import Point, save_recall_figure
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("matplotlib"):
            raise
        return None
    out.mkdir(parents=True, exist_ok=True)
    path = out / "demo.png"
    save_recall_figure(
        path,
        {
            "10@10": [
                Point(m.bytes_per_vector, m.overlap_at_10, f"{m.bits} bit{'s' * (m.bits > 1)}") for m in measured
            ],
            "1@10": [Point(m.bytes_per_vector, m.one_at_10) for m in measured],
        },
        # The sample is stored as float16, so both are exact on it.
        exact=[Point(2 * dim, 1.0, "float16"), Point(4 * dim, 1.0, "float32")],
        title="TurboQuant on 5,000 WordNet glosses",
        subtitle=f"MiniLM text embeddings, {dim} dimensions, 200 queries, inner product",
    )
    return path


def _parts(report: dict[str, Any]) -> list[Any]:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("bits", "bytes", "smaller", "distortion", "theory", "10@10", "1@10", "encode/s", "queries/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for m in (Measured(**row) for row in report["measured"]):
        table.add_row(
            str(m.bits),
            f"{m.bytes_per_vector:,.0f}",
            f"{m.compression_float32:.1f}×",
            f"{m.distortion:.3g}",
            f"{m.theory_distortion:.3g}",
            f"{m.overlap_at_10:.3f}",
            f"{m.one_at_10:.3f}",
            rate(m.vectors_per_second),
            rate(m.queries_per_second),
        )
    exact = report["float32"]
    row = (
        "32",
        f"{exact['bytes_per_vector']:,}",
        "1.0×",
        "0",
        "",
        "1.000",
        "1.000",
        "",
        rate(exact["queries_per_second"]),
    )
    table.add_row(*row, style="dim")
    what = f"{report['vectors']:,} text embeddings of {report['dim']} dimensions, {report['queries']} queries"
    parts: list[Any] = [
        f"{what}, inner product",
        "",
        table,
        "",
        Text(
            "bytes: of one vector, scale included. smaller: than float32. distortion: mean |x − x̂|²/|x|² with the "
            "paper's scale, beside theory's. 10@10: share of the true ten nearest among the ten found; 1@10: the true "
            f"nearest among them. Speed: everything in one call, {report['threads']} thread(s), SIMD level "
            f"{report['simd']}, median of {report['runs']} runs. 32 bits: brute force, NumPy float32, as many threads.",
            style="dim",
        ),
        "",
        Text(f"Nearest by {report['answers_bits']}-bit codes: estimated score (exact)", style="bold"),
    ]
    for answer in report["answers"]:
        parts += ["", Text(answer["text"], style="bold cyan"), _answer(answer)]
    if report["figure"] is None:
        parts += ["", "no figure: it needs matplotlib, pip install 'turboquant-rs[viz]'"]
    else:
        parts += ["", f"recall against bytes: {report['figure']}"]
    return parts + [f"done in {report['seconds']:.1f} s"]


def _answer(answer: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for row in answer["nearest"]:
        table.add_row(f"  {row['score']:.3f}", f"({row['exact']:.3f})", Text(row["text"]))
    return table

"""`turboquant search`: nearest vectors by the codes of a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from .. import simd
from .._files import replacing
from ..codec import queries_of
from ..codes import Codes
from ..index import Index
from ._options import Force, Json, Key, Metric, Quiet, Threads
from ._output import Failure, rate, show, write_json
from .index import open_indexes
from .inputs import kind_of, read_queries
from .targets import check_target

#: Bytes of codes that are copied into an index at a time: bounds memory, whatever the size of the file.
_BLOCK_BYTES = 128 << 20
#: Scores of truncated codes that are held at a time.
_BLOCK_SCORES = 1 << 24


def search(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Index, from turboquant index or Index.save, or several as one; or codes, from turboquant encode.",
        ),
    ],
    queries: Annotated[Path, typer.Argument(metavar="QUERIES", help="Vectors to look for: .npy or .npz.")],
    k: Annotated[
        int,
        typer.Option("-k", metavar="N", min=1, help="Neighbours of each query; at most as many as there are codes."),
    ] = 10,
    metric: Annotated[
        Metric | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="An index has its own. Of codes only ip: scores are estimated inner products, since files of "
            "codes keep no exact norms. Of vectors of norm 1 the order is that of cosine and l2 too.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write scores and ids to this .npz file.")
    ] = None,
    shown: Annotated[int, typer.Option("--show", metavar="N", min=0, help="Queries whose neighbours are printed.")] = 3,
    key: Key = None,
    threads: Threads = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the nearest vectors of every query by their codes, nearest first.

    Ids are those of the index; of codes, row numbers of the encoded file, from 0. The file may be larger than memory;
    its checksums are compared first, those of an index when its blocks are first read. Several index files are searched
    as one: they must be of one codec and metric, with distinct ids.
    """
    source = sources[0]
    several = len(sources) > 1
    index = open_indexes(sources) if several or kind_of(source) == "index" else None
    if index is not None and metric is not None and metric.value != index.metric:
        raise Failure(f"--metric {metric.value} is not the index's, {index.metric}; leave it out", 2)
    if index is None and metric not in (None, Metric.ip):
        raise Failure(
            f"--metric {metric.value} needs exact norms, which files of codes do not keep; make an index "
            "(turboquant index), or encode vectors of norm 1 and use ip, which then ranks alike",
            2,
        )
    if out is not None:
        if out.suffix.lower() != ".npz":
            raise Failure(f"{out} must end in .npz, the format of the results; name it {out.with_suffix('.npz')}", 2)
        check_target(out, force, (*sources, queries))
    codes = open_codes(source) if index is None else index
    if isinstance(codes, Codes) and len(codes) == 0:
        raise Failure(f"{source} holds a codec and no vectors; encode some with it: turboquant encode --codec {source}")
    wanted, _ = queries_of(read_queries(queries, key), codes.dim, "index" if index else "code file")
    start = time.perf_counter()
    if isinstance(codes, Codes):
        scores, ids, seconds = nearest(codes, wanted, k, threads)
    else:
        scores, ids = codes.search(wanted, min(k, max(1, len(codes))), threads=threads)
        # An empty index has no first neighbour either.
        scores, ids = scores[:, : len(codes)], ids[:, : len(codes)]
        seconds = time.perf_counter() - start
    seconds_reading = time.perf_counter() - start - seconds
    if out is not None:
        with replacing(out) as file:
            # String ids as text of NumPy's own kind: objects would be pickled.
            np.savez(file, scores=scores, ids=ids.astype(str) if ids.dtype == object else ids)
    report: dict[str, Any] = {
        "codes": [str(path) for path in sources] if several else str(source),
        "queries": str(queries),
        "metric": codes.metric if isinstance(codes, Index) else "ip",
        "k": scores.shape[1],
        "vectors": len(codes),
        "dim": codes.dim,
        "bits": codes.bits,
        "seconds_reading": seconds_reading,
        "seconds": seconds,
        "queries_per_second": len(wanted) / seconds if seconds else 0.0,
        "threads": threads,
        "simd": simd.level(),
    }
    if json:
        results = {"output": str(out)} if out is not None else {"scores": scores.tolist(), "ids": ids.tolist()}
        write_json(report | results)
    elif not quiet:
        if len(wanted) and shown and ids.shape[1]:
            show(_table(scores[:shown], ids[:shown]))
        speed = f"{rate(report['queries_per_second'])} queries/s ({seconds:.3g} s, reading {seconds_reading:.3g} s)"
        show(f"{len(wanted):,} queries, {len(codes):,} vectors: {speed}")
        if out is not None:
            show(f"scores and ids of all queries are in {out}")


def open_codes(path: Path, *, verify: bool = True) -> Codes:
    """Map a file of codes, its checksums compared."""
    kind = kind_of(path)
    if kind == "paper codes":
        raise Failure(f"{path} holds codes of another paper's codec; search them from Python, with PaperIndex")
    if kind != "codes":
        raise Failure(
            f"{path} is a .{kind} file, not codes; encode it first: turboquant encode {path} {path.with_suffix('.tq')}"
        )
    return Codes.load(path, mmap=True, verify=verify)


def nearest(
    codes: Codes, queries: NDArray[np.float32], k: int, threads: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], float]:
    """Return scores and row numbers of the nearest, (nq, min(k, n)), and the seconds of searching without reading.

    Equal scores are ordered by the lower row.
    """
    seconds = 0.0
    k = min(k, len(codes))
    scores = np.empty((len(queries), 0), np.float32)
    ids = np.empty((len(queries), 0), np.int64)
    for first, part in _parts(codes, len(queries)):
        found, rows, took = _nearest_of(part, queries, min(k, len(part)), threads)
        seconds += took
        scores = np.concatenate([scores, found], axis=1)
        ids = np.concatenate([ids, rows + first], axis=1)
        # Earlier rows stand to the left and the sort is stable: equal scores go to the lower row.
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, ids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)
    return scores, ids, seconds


def _parts(codes: Codes, queries: int) -> list[tuple[int, Codes]]:
    step = max(1, _BLOCK_BYTES // max(1, codes.packed.shape[1]))
    if codes.bits != codes.codec.bits:
        step = max(1, min(step, _BLOCK_SCORES // max(1, queries)))
    return [(first, codes[first : first + step]) for first in range(0, len(codes), step)]


def _nearest_of(
    part: Codes, queries: NDArray[np.float32], k: int, threads: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], float]:
    if part.bits == part.codec.bits:
        index = Index(codec=part.codec)
        index.add_codes(part)
        start = time.perf_counter()
        scores, ids = index.search(queries, k, threads=threads)
    else:
        # An index takes whole codes only; scores of truncated ones are sorted here.
        start = time.perf_counter()
        scores = part.codec.score(queries, part, threads=threads)
        ids = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)
        scores = np.take_along_axis(scores, ids, axis=1)
    return scores, ids, time.perf_counter() - start


def _table(scores: NDArray[np.float32], ids: NDArray[np.int64]) -> Table:
    table = Table("rank", box=None, pad_edge=False, header_style="bold")
    table.columns[0].justify = "right"
    for query in range(len(ids)):
        table.add_column(f"query {query}", justify="right", no_wrap=True)
        table.add_column("score", justify="right", style="dim", no_wrap=True)
    for rank in range(ids.shape[1]):
        cells = [text for i, s in zip(ids[:, rank], scores[:, rank], strict=True) for text in (f"{i}", f"{s:.4g}")]
        table.add_row(str(rank + 1), *cells)
    return table

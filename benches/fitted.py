"""Fitted codecs beside plain ones and trained or calibrated peers at equal bytes: recall, seconds to fit, rows/s.

    python benches/fitted.py [--sets glosses glosses-by-topic sift …] [--bits 0.5 1 1.5 2 3 4] [--rows 100000]

Fits see "train" rows only, never the base, and take all cores; encoding is timed on one. Bytes are those of one vector,
scale included; a peer that cannot meet a number of bytes is measured at the nearest one above and says so. "glosses" is
all 100,000 × 384 of them if in the cache (``turboquant_rs.evaluation.datasets``), else the sample in the package.
"glosses-by-topic" fits on glosses of one half by direction (sign of the first principal axis) and encodes the other;
"clusters-one" and "tight-clusters-one" fit on one cluster and encode all; "embedding-like-768" fits on 20,000 rows.
"sift" needs --sift FILE, a .npy file of SIFT descriptors: the first 2,000 rows are queries, the next 20,000 to fit on,
the rest the base.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Encoding is timed on one thread; turbovec reads this at import.
os.environ["RAYON_NUM_THREADS"] = "1"

import harness
import numpy as np
from contestants import rabitqlib_search, rotated
from numpy.typing import NDArray
from turboquant_rs import Index, TurboQuant
from turboquant_rs.evaluation import datasets, generators, metrics, neighbors

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]

#: Rows, rows to fit on, queries and dimension of the generated sets.
N, TRAIN, QUERIES, DIM = 20_000, 8_000, 500, 384

#: Fitted on one cluster, encoded all of them.
ONE_CLUSTER = {"clusters-one": "clusters", "tight-clusters-one": "tight_clusters"}


@dataclass(frozen=True)
class Set:
    """What is encoded, what is fitted on, and what is asked."""

    text: str
    base: Rows
    train: Rows
    queries: Rows


@dataclass(frozen=True)
class Found:
    """What a contestant returns: ids, bytes a vector, seconds to fit and to encode the base."""

    ids: Ids
    nbytes: float
    fit_seconds: float
    encode_seconds: float
    note: str = ""


def load(name: str, rows: int, sift: Path | None) -> Set:
    """Return a set by name."""
    if name.startswith("glosses"):
        folder = datasets.default_cache() / "glosses-minilm-384"
        if (folder / "base.npy").exists():
            full = datasets.glosses_full()
            found = Set(f"{rows // 1000}k glosses, MiniLM", full.base[:rows], full.train, full.queries)
        else:
            sample = datasets.load_glosses_sample()
            found = Set("3k glosses, MiniLM (sample)", sample.base[2000:], sample.base[:2000], sample.queries)
        return by_topic(found) if name == "glosses-by-topic" else found
    if name == "sift":
        if sift is None:
            raise SystemExit("--sets sift needs --sift FILE")
        x = np.load(sift).astype(np.float32)
        return Set(f"{(len(x) - 22_000) // 1000}k SIFT 128, unit norm", x[22_000:], x[2_000:22_000], x[:2_000])
    if name in ONE_CLUSTER:
        whole, one = ONE_CLUSTER[name], getattr(generators, ONE_CLUSTER[name])
        # The same seed: the only cluster to fit on is the first of those that are encoded.
        fit_on = one(2 * TRAIN, DIM, 0, n_clusters=1).base[TRAIN:]
        vectors = generators.GENERATORS[whole](N, DIM, QUERIES)
        return Set(f"{whole}, fitted on one", vectors.base, fit_on, vectors.queries)
    if name == "embedding-like-768":
        vectors = generators.embedding_like(2 * N, 768, QUERIES)
        return Set("embedding_like 768", vectors.base[:N], vectors.base[N:], vectors.queries)
    vectors = generators.GENERATORS[name](N + TRAIN, 1000 if name == "sparse" else DIM, QUERIES)
    return Set(name, vectors.base[:N], vectors.base[N:], vectors.queries)


def by_topic(whole: Set) -> Set:
    """Split along the first principal axis of the rows to fit on: fit on one side, encode and ask the other."""
    mean = whole.train.mean(axis=0)
    axis = np.linalg.eigh((whole.train - mean).T @ (whole.train - mean))[1][:, -1]
    one, other = ((lambda x, s=sign: x[s * ((x - mean) @ axis) > 0]) for sign in (1.0, -1.0))
    return Set(whole.text + ", fitted on the other half", one(whole.base), other(whole.train), one(whole.queries))


def scan(codec: TurboQuant, data: Set) -> tuple[Ids, float]:
    """Return the ids that an index of the codec finds and the seconds that adding took."""
    index = Index(codec=codec)
    start = time.perf_counter()
    index.add(data.base, threads=1)
    seconds = time.perf_counter() - start
    return index.search(data.queries, 10)[1], seconds


def fitted(data: Set, bits: float, refine: Any = "auto") -> Found:
    """Fit on train; by default the fit chooses whether to refine."""
    start = time.perf_counter()
    codec = TurboQuant.fit(data.train, bits, refine=refine, threads=os.cpu_count())
    seconds = time.perf_counter() - start
    ids, encode = scan(codec, data)
    drift = codec.drift(data.base[:5000])
    return Found(
        ids,
        codec.bytes_per_vector(),
        seconds,
        encode,
        f"drift {drift.ratio:.3f}, {drift.reading}, refine {int(codec.refine)}",
    )


def plain(data: Set, bits: float) -> Found | None:
    """Without a fit; whole numbers of bits only."""
    if bits != int(bits):
        return None
    codec = TurboQuant(data.base.shape[1], int(bits))
    ids, encode = scan(codec, data)
    return Found(ids, codec.bytes_per_vector(), 0.0, encode)


def faiss_index(make: Callable[[Any, int, int], Any]) -> Callable[[Set, float], Found | None]:
    """Train, add and search a FAISS index of 4 + dim·bits/8 bytes or the next size that it has."""

    def run(data: Set, bits: float) -> Found | None:
        import faiss

        dim = data.base.shape[1]
        made = make(faiss, dim, round(dim * bits / 8 + 4))
        if made is None:
            return None
        index, nbytes, note = made
        start = time.perf_counter()
        index.train(data.train)
        trained = time.perf_counter()
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        index.add(data.base)
        added = time.perf_counter()
        faiss.omp_set_num_threads(threads)
        ids = index.search(data.queries, 10)[1]
        return Found(ids, nbytes, trained - start, added - trained, note)

    return run


def opq(faiss: Any, dim: int, nbytes: int) -> Any:
    """OPQ, then product quantization in 4 bits, scanned by FastScan: two subquantizers a byte."""
    parts = 2 * nbytes
    # FastScan wants as many subquantizers as divide the rotated dimension.
    out = -(-dim // parts) * parts
    if out > 2 * dim:
        return None
    matrix = faiss.OPQMatrix(dim, parts, out)
    # By default it trains for codes of 8 bits, for many times as long and for another code than this one.
    matrix.pq = faiss.ProductQuantizer(out, parts, 4)
    scan = faiss.IndexPQFastScan(out, parts, 4, faiss.METRIC_INNER_PRODUCT)
    return faiss.IndexPreTransform(matrix, scan), nbytes, f"{parts} × 4 bits"


def rotated_codes(name: str, most: int) -> Callable[[Any, int, int], Any]:
    """FAISS's RaBitQ with the mean of train removed, or EDEN, unbiased: up to ``most`` bits, behind a rotation."""

    def make(faiss: Any, dim: int, nbytes: int) -> Any:
        bits = round((nbytes - 4) * 8 / dim)
        if not 1 <= bits <= most or (nbytes - 4) * 8 != bits * dim or not hasattr(faiss, name):
            return None
        inner = getattr(faiss, name)(dim, faiss.METRIC_INNER_PRODUCT, bits)
        return rotated(inner), inner.code_size, "more bytes than asked" if inner.code_size > nbytes else ""

    return make


def turbovec(data: Set, bits: float) -> Found | None:
    """Calibrated on train; 2 to 4 bits, 3 of them in the bytes of 4."""
    from turbovec import TurboQuantIndex

    dim = data.base.shape[1]
    if bits not in (2, 3, 4) or dim % 8:
        return None
    index = TurboQuantIndex(dim, int(bits))
    start = time.perf_counter()
    index.calibrate(data.train)
    calibrated = time.perf_counter()
    index.add(data.base)
    added = time.perf_counter()
    ids = np.asarray(index.search(data.queries, 10)[1]).astype(np.int64)
    nbytes = dim * (4 if bits == 3 else bits) / 8 + 4
    return Found(ids, nbytes, calibrated - start, added - calibrated, "4 bits stored" if bits == 3 else "")


def rabitqlib(data: Set, bits: float) -> Found | None:
    """One cluster, so that every row is scanned."""
    if bits != int(bits):
        return None
    centre = data.train.mean(axis=0, keepdims=True)
    start = time.perf_counter()
    search = rabitqlib_search(data.base, centre, int(bits), 2, 1)
    seconds = time.perf_counter() - start
    # Its layout: packed bits, two factors of the sign code and, from 2 bits, two more of the whole one.
    padded = -(-data.base.shape[1] // 64) * 64
    nbytes = padded * bits / 8 + (12 if bits == 1 else 20)
    return Found(search(data.queries, 10).astype(np.int64), nbytes, 0.0, seconds, "factors included")


CONTESTANTS: dict[str, Callable[[Set, float], Found | None]] = {
    "fitted": fitted,
    "fitted, refine=False": functools.partial(fitted, refine=False),
    "plain": plain,
    "faiss OPQ+PQ4 FastScan": faiss_index(opq),
    "faiss RaBitQ": faiss_index(rotated_codes("IndexRaBitQ", 9)),
    "faiss EDEN": faiss_index(rotated_codes("IndexEDEN", 8)),
    "turbovec, calibrated": turbovec,
    "rabitqlib": rabitqlib,
}


def main() -> None:
    """Run the grid and write benches/results/fitted.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sets",
        nargs="+",
        default=["glosses", "glosses-by-topic", *generators.GENERATORS, *ONE_CLUSTER, "embedding-like-768"],
    )
    parser.add_argument("--bits", type=float, nargs="+", default=[0.5, 1, 1.5, 2, 3, 4])
    parser.add_argument("--rows", type=int, default=100_000, help="of the glosses")
    parser.add_argument("--sift", type=Path)
    parser.add_argument("--runs", type=int, default=1, help="of each contestant; the median counts")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--out", default="fitted")
    parser.add_argument("--keep", action="store_true", help="keep the cells of earlier runs that this one has not")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    missing: set[str] = set()
    cells: list[dict[str, Any]] = []
    earlier: list[dict[str, Any]] = []
    if options.keep:
        earlier = json.loads((harness.RESULTS / f"{options.out}.json").read_text())["cells"]
    for name in options.sets:
        data = load(name, options.rows, options.sift)
        truth = neighbors.true_neighbors(data.base, data.queries, 10)
        for bits in options.bits:
            for what in options.only:
                try:
                    runs = [CONTESTANTS[what](data, bits) for _ in range(options.runs)]
                except ImportError:
                    missing.add(what)
                    continue
                found = middle(runs)
                if found is None:
                    continue
                cell = {
                    "set": data.text,
                    "rows": len(data.base),
                    "train": len(data.train),
                    "dim": data.base.shape[1],
                    "bits": bits,
                    "what": what,
                    "bytes_per_vector": found.nbytes,
                    "10@10": round(metrics.overlap_at_k(truth, found.ids), 4),
                    "fit_seconds": round(found.fit_seconds, 3),
                    "encode_rows_per_second": round(len(data.base) / found.encode_seconds),
                    "runs": options.runs,
                    "note": found.note,
                }
                cells.append(cell)
                print(
                    f"{data.text:32.32} {bits:4g} bits  {what:24} {found.nbytes:6.0f} bytes  10@10 {cell['10@10']:.4f}"
                    f"  fit {found.fit_seconds:7.2f} s  {cell['encode_rows_per_second']:10,} rows/s  {found.note}",
                    flush=True,
                )
            # After every width, so that a run that is stopped keeps what it has.
            write(options.out, earlier, cells, missing)
    print("written:", f"{options.out}.json", "| not installed:", ", ".join(sorted(missing)) or "none")


def middle(runs: list[Found | None]) -> Found | None:
    """Return the run with the median seconds to encode, with the median seconds to fit."""
    found = sorted((run for run in runs if run is not None), key=lambda run: run.encode_seconds)
    if not found:
        return None
    return replace(found[len(found) // 2], fit_seconds=sorted(run.fit_seconds for run in found)[len(found) // 2])


def write(name: str, earlier: list[dict[str, Any]], cells: list[dict[str, Any]], missing: set[str]) -> None:
    """Write the cells of this run, and those of earlier ones that it has not."""
    measured = {(cell["set"], cell["bits"], cell["what"]) for cell in cells}
    cells = [cell for cell in earlier if (cell["set"], cell["bits"], cell["what"]) not in measured] + cells
    cells = [cell for cell in cells if cell["what"] in CONTESTANTS]
    order = list(dict.fromkeys(cell["set"] for cell in cells))
    cells.sort(key=lambda cell: (order.index(cell["set"]), cell["bits"], list(CONTESTANTS).index(cell["what"])))
    harness.write(name, {"machine": harness.machine(), "cells": cells, "peers_not_installed": sorted(missing)})


if __name__ == "__main__":
    main()

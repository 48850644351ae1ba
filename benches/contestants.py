"""What benches/search.py times: a flat search of codes of each library, and of float32 rows; one process each.

A contestant is a process of its own, since some switches are read once a process: turbovec's search in stages can only
be turned off so, a level of ours or FAISS's instruction set only forced so, and most pools of threads only sized so.
Processes take turns; only one of them works at a time. `build` makes a search, `serve` answers for it, and
`Contestant` is the other end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Search = Callable[[Rows, int], NDArray[Any]]

#: Rows that a fit or a peer's training sees.
SAMPLE = 20_000

EVERY_ROW = {"TURBOVEC_2BIT_PLANES": "0", "TURBOVEC_4BIT_PLANES": "0"}
NO_VNNI = {"TURBOVEC_NO_VNNI": "1", "TURBOVEC_NO_VECTOR_MAJOR": "1"}


NOTHING: Mapping[str, str] = MappingProxyType({})


class Kind(NamedTuple):
    """What to build, the environment that forces it, and the widths that it has."""

    build: str
    environment: Mapping[str, str] = NOTHING
    bits: tuple[int, ...] = (1, 2, 4)
    #: Of how many rows at most: beyond it building takes minutes.
    rows: int = 10**9


#: Beside ours at each level. Those of float32 or int8 rows are told once, at 4 bits.
PEERS = {
    "turbovec, staged": Kind("turbovec", NOTHING, (2, 4)),
    "turbovec, every row": Kind("turbovec", EVERY_ROW, (2, 4)),
    "turbovec, every row, no VNNI": Kind("turbovec", EVERY_ROW | NO_VNNI, (2, 4)),
    "FAISS PQFastScan": Kind("pq", NOTHING, (1, 2, 4), 200_000),
    "FAISS PQFastScan, AVX2": Kind("pq", {"FAISS_SIMD_LEVEL": "AVX2"}, (1, 2, 4), 200_000),
    "FAISS RaBitQFastScan": Kind("rabitq_fast"),
    "FAISS EDEN": Kind("eden", NOTHING, (1, 2, 4), 200_000),
    "rabitqlib, one cluster": Kind("rabitqlib", NOTHING, (1, 2, 4), 200_000),
    "FAISS flat, float32": Kind("flat", NOTHING, (4,), 200_000),
    "usearch exact, int8": Kind("usearch", NOTHING, (4,)),
    "NumPy, float32": Kind("numpy", NOTHING, (4,), 200_000),
}


def build(kind: str, x: Rows, train: Rows, bits: int, threads: int) -> Search:
    """Return a search for inner products over an index of the rows; ImportError where the library is not installed."""
    dim = x.shape[1]
    if kind in ("plain", "fitted"):
        from turboquant_rs import Index, TurboQuant

        index = Index(codec=TurboQuant(dim, bits) if kind == "plain" else TurboQuant.fit(train, bits))
        index.add(x)
        return lambda queries, k: index.search(queries, k, threads=threads)[1]
    if kind == "turbovec":
        from turbovec import TurboQuantIndex

        turbo = TurboQuantIndex(dim, bits)
        turbo.add(x)
        return lambda queries, k: np.asarray(turbo.search(queries, k)[1])
    if kind == "rabitqlib":
        return rabitqlib_search(x, train.mean(axis=0, keepdims=True), bits, threads, os.cpu_count())
    if kind == "usearch":
        from usearch.index import search

        # Rows have unit norm: 127 steps to 1, as its users store them.
        small, metric = np.rint(x * 127).astype(np.int8), "ip"

        def exact(queries: Rows, k: int) -> NDArray[Any]:
            steps = np.rint(queries * (127 / np.abs(queries).max())).astype(np.int8)
            return np.atleast_2d(search(small, steps, k, metric, exact=True, threads=threads).keys)

        return exact
    if kind == "numpy":

        def brute(queries: Rows, k: int) -> NDArray[Any]:
            scores = queries @ x.T
            part = np.argpartition(scores, -k, axis=1)[:, -k:]
            order = np.argsort(-np.take_along_axis(scores, part, axis=1), axis=1)
            return np.take_along_axis(part, order, axis=1)

        return brute
    return faiss_search(kind, x, train, bits, threads)


def rabitqlib_search(x: Rows, centre: Rows, bits: int, threads: int, build_threads: int | None) -> Search:
    """Return a search by rabitqlib over one cluster, so that every row is scanned; building is all that this does."""
    from rabitqlib import IvfIndex

    ivf = IvfIndex(x.shape[1], len(x), 1, bits, metric="ip")
    ivf.build(x, centre, np.zeros(len(x), np.uint32), num_threads=build_threads, fast_quantization=True)

    def found(queries: Rows, k: int) -> NDArray[Any]:
        first, second = (np.asarray(part) for part in ivf.search(queries, k, 1, num_threads=threads)[:2])
        return second if first.dtype.kind == "f" else first

    return found


def rotated(index: Any) -> Any:
    """Return a FAISS index behind a random rotation."""
    import faiss

    return faiss.IndexPreTransform(faiss.RandomRotationMatrix(index.d, index.d), index)


def faiss_search(kind: str, x: Rows, train: Rows, bits: int, threads: int) -> Search:
    """Return a search by FAISS, at about equal bytes a row where it is one of codes."""
    import faiss

    dim, metric = x.shape[1], faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    elif kind == "pq":
        # 4 bits a coordinate, or one code of 4 bits for two or four coordinates.
        index = faiss.IndexPQFastScan(dim, dim * bits // 4, 4, metric)
    else:
        make = {"rabitq_fast": lambda: faiss.IndexRaBitQFastScan(dim, metric, 32, bits)}
        make["eden"] = lambda: faiss.IndexEDEN(dim, metric, bits)
        index = rotated(make[kind]())
    index.train(train[:10_000])
    index.add(x)
    faiss.omp_set_num_threads(threads)
    return lambda queries, k: index.search(queries, k)[1]


def serve(kind: str, folder: Path, bits: int, threads: int) -> None:
    """Be a contestant: build, then at each line of input search as it says and tell the ids or the seconds."""
    x, train, queries = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("base", "train", "queries"))
    queries = np.array(queries)
    try:
        search = build(kind, x, np.array(train), bits, threads)
    except (ImportError, AttributeError):
        print(json.dumps({"missing": True}), flush=True)
        return
    level = None
    if kind in ("plain", "fitted"):
        from turboquant_rs import simd

        level = simd.level()
    print(json.dumps({"level": level}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        batch, k = task["batch"], task["k"]
        parts = [queries[start : start + batch] for start in range(0, task["queries"] - batch + 1, batch)]
        cpu, wall = time.process_time(), time.perf_counter()
        ids = [search(part, k) for part in parts]
        seconds = [time.process_time() - cpu, time.perf_counter() - wall]
        answer = np.concatenate(ids).astype(np.int64).tolist() if task["ids"] else seconds
        print(json.dumps(answer), flush=True)


class Contestant:
    """A process that searches when it is told to."""

    def __init__(self, kind: Kind, folder: Path, bits: int, threads: int) -> None:
        names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        every = {**os.environ, **dict.fromkeys(names, str(threads)), **kind.environment}
        command = [sys.executable, __file__, kind.build, str(folder), str(bits), str(threads)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=every)
        self.missing = "missing" in self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contestant ended: {self.process.args}")
        return json.loads(line)

    def ask(self, queries: int, batch: int, k: int, *, ids: bool = False) -> Any:
        """Search the first queries in batches; return the ids, or CPU and wall seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"queries": queries, "batch": batch, "k": k, "ids": ids}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

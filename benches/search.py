"""Search speed beside turbovec, FAISS, rabitqlib, usearch and NumPy: interleaved, recall beside every time.

    python benches/search.py [--glosses FOLDER] [--only TEXT] [--bits 1 2 3 4 8] [--rounds 5] [--keep] [--wait]

Inner products over 100,000 rows: generated ones with a spectrum like embeddings' of 128, 768 and 1,536 dims and a
million of 384; the glosses (``evaluation.build_glosses``), real embeddings of 384; and isotropic rows of 768, the
hardest case for a search in stages. Batches of 1, 16 and 1,000 queries with k = 10 on one thread; at 4 bits also
k = 100, and two threads. Widths of 3 and 8 bits are ours alone. Exact neighbors are float32 inner products; the ids
that a plain index of ours finds are held against the reference's ranking of the same codes, those of a fitted one
against its scan of every row. The machine's own ceilings come from ``ceilings.c`` in the same run, if there is a C
compiler. ``--keep`` keeps the result file's other cells; ``--wait`` waits for a line of input before each set of
times, so that a script can hold others back. Peers: ``pip install turbovec==1.1.2 faiss-cpu==1.15.1 rabitqlib==0.7.1
usearch``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import harness
import numpy as np
from contestants import PEERS, SAMPLE, Contestant, Kind, Rows
from numpy.typing import NDArray
from turboquant_rs import Index, TurboQuant, simd
from turboquant_rs import reference as ref
from turboquant_rs.evaluation.generators import embedding_like, isotropic
from turboquant_rs.reference.scan import score
from turboquant_rs.reference.staged import clamp, has_first_stage, row_bounds, upper

ROWS, QUERIES = 100_000, 1000
#: Queries whose ids are held against the reference, which is NumPy and slow, and how many of its rows at once.
CHECKED, BLOCK = 20, 10_000
#: Queries of a time, by the size of their batches.
ASKED = {1: 50, 16: 96, 1000: 1000}
#: A contestant that would need longer for a batch is asked for smaller ones only.
LONGEST = 6.0


class Setting(NamedTuple):
    """How queries are asked."""

    batch: int
    k: int
    threads: int


#: At every width; the others at 4 bits only.
ALWAYS = [Setting(1, 10, 1), Setting(16, 10, 1), Setting(1000, 10, 1)]
MORE = [Setting(1, 100, 1), Setting(1000, 100, 1), Setting(1, 10, 2), Setting(16, 10, 2), Setting(1000, 10, 2)]


def like_embeddings(rows: int, dim: int) -> tuple[Rows, Rows, Rows]:
    """Return rows, rows to fit on and queries."""
    made = embedding_like(rows + SAMPLE, dim, QUERIES)
    return made.base[:rows], made.base[rows:], made.queries


def uniform(dim: int) -> tuple[Rows, Rows, Rows]:
    """Return the same without any structure."""
    made = isotropic(ROWS + SAMPLE, dim, QUERIES)
    return made.base[:ROWS], made.base[ROWS:], made.queries


def glosses(folder: Path) -> tuple[Rows, Rows, Rows]:
    """Return the real ones."""
    base, train, queries = (np.load(folder / f"{n}.npy").astype(np.float32) for n in ("base", "train", "queries"))
    return base[:ROWS], train[:SAMPLE], queries[:QUERIES]


def sets(folder: Path | None) -> dict[str, Callable[[], tuple[Rows, Rows, Rows]]]:
    """Return what makes each set, by name."""
    found: dict[str, Callable[[], tuple[Rows, Rows, Rows]]] = {
        f"like embeddings, {dim} dims": lambda dim=dim: like_embeddings(ROWS, dim)  # type: ignore[misc]
        for dim in (128, 768, 1536)
    }
    if folder is not None:
        found["glosses, 384 dims"] = lambda: glosses(folder)
    found["isotropic, 768 dims"] = lambda: uniform(768)
    found["like embeddings, 384 dims, 1,000,000 rows"] = lambda: like_embeddings(1_000_000, 384)
    return found


def neighbors(x: Rows, queries: Rows, k: int) -> NDArray[np.int64]:
    """Return the ids of the k largest float32 inner products of every query, largest first."""
    found = []
    for block in np.array_split(queries, max(1, len(queries) * len(x) // 20_000_000)):
        scores = block @ x.T
        part = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, part, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(part, order, axis=1))
    return np.concatenate(found)


def ranked(x: Rows, train: Rows, queries: Rows, kind: str, bits: int, k: int) -> NDArray[np.int64]:
    """Return the ids that our index must find: the reference's of a plain one, of a fitted one those of a full scan."""
    if kind == "fitted":
        index = Index(codec=TurboQuant.fit(train, bits))
        index.add(x)
        return index.search(queries, k, exact=True)[1].astype(np.int64)
    plain = ref.TurboQuant(x.shape[1], bits)
    codes = TurboQuant(x.shape[1], bits).encode(x)
    scores, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(x), BLOCK):
        # The reference reads its own codes from bytes: the two are the same format.
        part = ref.Codes.from_bytes(codes[start : start + BLOCK].to_bytes())
        found = score(plain, queries, part)
        if has_first_stage(plain):
            found = clamp(found, upper(plain, queries, part, row_bounds(plain, part)))
        scores = np.concatenate([scores, found], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(np.arange(start, start + len(part)), found.shape)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, ids = np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
    return ids


def ceilings() -> dict[str, float] | None:
    """Compile and run ceilings.c: this core's peaks, in the same minute as the searches."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or harness.platform.machine() != "x86_64":
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceilings"
        source = Path(__file__).parent / "ceilings.c"
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        return dict(json.loads(subprocess.run([program], check=True, capture_output=True, text=True).stdout))


def kinds(bits: int, rows: int) -> dict[str, Kind]:
    """Return who takes part at a width."""
    levels = [level for level in simd.available() if level in ("avx2", simd.level())]
    found = {f"ours, {level}": Kind("plain", {"TURBOQUANT_SIMD": level}) for level in levels}
    found["ours, fitted"] = Kind("fitted")
    return found | {name: kind for name, kind in PEERS.items() if bits in kind.bits and rows <= kind.rows}


def times(running: dict[str, Contestant], setting: Setting, rounds: int) -> dict[str, list[list[float]]]:
    """Let everyone who is quick enough search in turns; return CPU and wall seconds of each round."""
    asked = ASKED[setting.batch]
    slow = set()
    if setting.batch == max(ASKED):
        smaller = ASKED[16]
        one = {name: contestant.ask(smaller, 16, setting.k)[1] / smaller for name, contestant in running.items()}
        slow = {name for name, seconds in one.items() if seconds * asked > LONGEST}
    found: dict[str, list[list[float]]] = {name: [] for name in running if name not in slow}
    for turn in range(rounds + 1):
        for name in found:
            spent = running[name].ask(asked // setting.batch * setting.batch, setting.batch, setting.k)
            # The first warms up.
            found[name] += [spent] if turn else []
    return found


def cells(name: str, data: tuple[Rows, Rows, Rows], folder: Path, bits: int, options: argparse.Namespace) -> list[Any]:
    """Run all contestants on one set and width."""
    x, train, queries = data
    settings = ALWAYS + (MORE if bits == 4 else [])
    most = max(setting.k for setting in settings)
    exact = neighbors(x, queries, most)
    wanted = {kind: ranked(x, train, queries[:CHECKED], kind, bits, most) for kind in ("plain", "fitted")}
    rows = []
    for threads in sorted({setting.threads for setting in settings}):
        running: dict[str, Contestant] = {}
        for what, kind in kinds(bits, len(x)).items():
            contestant = Contestant(kind, folder, bits, threads)
            if contestant.missing:
                contestant.end()
                continue
            running[what] = contestant
        recalls: dict[tuple[str, int], float] = {}
        for what, contestant in running.items():
            for k in {setting.k for setting in settings if setting.threads == threads}:
                asked = ASKED[16]
                ids = np.asarray(contestant.ask(asked, 16, k, ids=True))
                if what.startswith("ours"):
                    want = wanted["fitted" if "fitted" in what else "plain"][:, :k]
                    assert np.array_equal(ids[:CHECKED], want), f"{what} must find the ids of the ranking"
                hits = [len(set(a) & set(b)) for a, b in zip(exact[:asked, :k].tolist(), ids.tolist(), strict=True)]
                recalls[what, k] = statistics.mean(hits) / k
        if options.wait:
            print("ready", flush=True)
            sys.stdin.readline()
        for setting in (setting for setting in settings if setting.threads == threads):
            measured = times(running, setting, options.rounds)
            rows += told(name, len(x), x.shape[1], bits, setting, measured, recalls)
        if options.wait:
            print("done", flush=True)
        for contestant in running.values():
            contestant.end()
    return rows


def told(
    name: str,
    rows: int,
    dim: int,
    bits: int,
    setting: Setting,
    measured: dict[str, list[list[float]]],
    recalls: dict[tuple[str, int], float],
) -> list[dict[str, Any]]:
    """Return a cell for each contestant, and print it: of one thread CPU time counts, of two wall time."""
    clock = int(setting.threads > 1)
    ours = [spent[clock] for spent in measured[f"ours, {simd.level()}"]]
    asked = ASKED[setting.batch] // setting.batch * setting.batch
    found = []
    for what, spent in measured.items():
        seconds = [pair[clock] for pair in spent]
        cell = {
            "set": name,
            "rows": rows,
            "dim": dim,
            "bits": bits,
            **setting._asdict(),
            "what": what,
            "recall": round(recalls[what, setting.k], 4),
            "us_per_query": harness.summary([s / asked * 1e6 for s in seconds]),
            "time_over_ours": harness.summary([s / o for s, o in zip(seconds, ours, strict=True)]),
        }
        found.append(cell)
        print(
            f"{name:41} {bits} bits, batch {setting.batch:4}, k {setting.k:3}, {setting.threads} threads  {what:30}"
            f" {cell['us_per_query']['median']:10.1f} us/query  recall {cell['recall']:.3f}"
            f"  {cell['time_over_ours']['median']:6.2f} × our time",
            flush=True,
        )
    return found


def main() -> None:
    """Run the grid and write benches/results/search.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glosses", type=Path, help="folder of base.npy, train.npy and queries.npy")
    parser.add_argument("--only", default="", help="run the sets whose names hold this")
    parser.add_argument("--bits", type=int, nargs="+", default=[1, 2, 3, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="keep cells of the result file that this run has not")
    parser.add_argument("--wait", action="store_true", help="wait for a line of input before times are taken")
    options = parser.parse_args()
    path = harness.RESULTS / "search.json"
    earlier = json.loads(path.read_text())["cells"] if options.keep and path.exists() else []
    fresh: list[dict[str, Any]] = []
    peaks = ceilings()
    for name, make in sets(options.glosses).items():
        if options.only not in name:
            continue
        data = make()
        with tempfile.TemporaryDirectory() as folder:
            for part, rows in zip(("base", "train", "queries"), data, strict=True):
                np.save(Path(folder) / f"{part}.npy", rows)
            for bits in options.bits:
                fresh += cells(name, data, Path(folder), bits, options)
                # After every width, so that a run that is stopped keeps what it has.
                again = {(cell["set"], cell["bits"]) for cell in fresh}
                kept = [cell for cell in earlier if (cell["set"], cell["bits"]) not in again]
                result = {"machine": harness.machine(), "ceilings": peaks, "rounds": options.rounds}
                harness.write("search", result | {"cells": kept + fresh})
    print("written: search.json")


if __name__ == "__main__":
    main()

"""Index files: saving, opening by map, first searches, commits, memory; FAISS and turbovec write and read beside them.

    python benches/files.py [--rows 1000000] [--dim 384] [--bits 4] [--folder /tmp]

Everything runs in processes of its own, so that what one measures of memory is its own. Anonymous memory is sampled
every 5 ms; the vectors are in a file that is mapped, whose pages are not anonymous. Peers that are not installed are
left out: ``pip install faiss-cpu==1.15.1 turbovec==1.1.2``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import numpy as np

BATCH = 16_384


def memory(field: str) -> int:
    """Return a figure of this process's memory in bytes: RssAnon of status, Pss of smaps_rollup."""
    name = "smaps_rollup" if field.startswith("Pss") else "status"
    for line in Path(f"/proc/self/{name}").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def peak_anonymous(out: dict[str, Any], name: str) -> Iterator[None]:
    """Note how far anonymous memory rises above where it is now."""
    start, stop, highest = memory("RssAnon"), threading.Event(), [0]

    def watch() -> None:
        while not stop.wait(0.005):
            highest[0] = max(highest[0], memory("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        highest[0] = max(highest[0], memory("RssAnon"))
        stop.set()
        watcher.join()
        out[name] = highest[0] - start


def milliseconds(run: Callable[[], object], times: int) -> dict[str, float]:
    """Return median, least and largest wall time of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(1e3 * (time.perf_counter() - start))
    return harness.summary(taken)


def vectors(folder: Path, dim: int) -> Any:
    """The vectors, mapped."""
    return np.memmap(folder / "vectors.f32", np.float32, "r").reshape(-1, dim)


def ours_builds(folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """Add everything in batches, save."""
    from turboquant_rs import Index

    x, out = vectors(folder, dim), {}
    index = Index(dim, bits)
    index.add(np.ones((1, dim), np.float32))
    index = Index(dim, bits)
    with peak_anonymous(out, "anonymous_peak_building"):
        for first in range(0, len(x), BATCH):
            index.add(x[first : first + BATCH])
    out["index_bytes"] = index.nbytes
    with peak_anonymous(out, "anonymous_peak_saving"):
        out["save_ms"] = milliseconds(lambda: index.save(folder / "ours.tqi"), 1)
    out["file_bytes"] = (folder / "ours.tqi").stat().st_size
    return out


def ours_opens(folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """Open by map, search, verify; then commit one vector at a time."""
    from turboquant_rs import Index

    del bits
    path, query, out = folder / "ours.tqi", np.random.default_rng(1).standard_normal(dim, np.float32), {}
    with peak_anonymous(out, "anonymous_opening_and_searching"):
        start = time.perf_counter()
        index = Index.open(path)
        out["first_open_ms"] = 1e3 * (time.perf_counter() - start)
        out["first_search_ms"] = milliseconds(lambda: index.search(query), 1)
        out["next_search_ms"] = milliseconds(lambda: index.search(query), 9)
    out["open_ms"] = milliseconds(lambda: Index.open(path), 20)
    out["verify_ms"] = milliseconds(lambda: Index.open(path).verify(), 3)
    index = Index.open(path)

    def add_and_commit() -> None:
        index.add(query[None])
        index.commit()

    add_and_commit()
    out["commit_of_one_add_ms"] = milliseconds(add_and_commit, 30)
    with tempfile.TemporaryFile(dir=folder) as file:

        def append() -> None:
            for _ in range(2):
                file.write(bytes(2_000))
                file.flush()
                os.fsync(file.fileno())

        out["two_appends_with_fsync_ms"] = milliseconds(append, 30)
    return out


def ours_shares(folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """Search the whole map, and say so; tell the proportional set size once the other process has, too."""
    from turboquant_rs import Index

    del bits
    index = Index.open(folder / "ours.tqi")
    index.verify()
    index.search(np.ones(dim, np.float32), threads=1)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps({"pss": memory("Pss"), "rss": memory("VmRSS"), "anonymous": memory("RssAnon")}), flush=True)
    sys.stdin.readline()
    return {}


def turbovec(folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """Write and load."""
    import turbovec as tv

    x, index, out = np.array(vectors(folder, dim)), tv.TurboQuantIndex(dim, bits), {}
    index.add(x)
    path = str(folder / "turbovec")
    out["save_ms"] = milliseconds(lambda: index.write(path), 1)
    out["load_ms"] = milliseconds(lambda: tv.TurboQuantIndex.load(path), 3)
    out["file_bytes"] = Path(path).stat().st_size
    return out


def faiss(folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """Write and read a 4-bit scalar quantiser, by copy and by map."""
    import faiss as fs

    del bits
    x, out = np.array(vectors(folder, dim)), {}
    index = fs.IndexScalarQuantizer(dim, fs.ScalarQuantizer.QT_4bit, fs.METRIC_INNER_PRODUCT)
    index.train(x[:20_000])
    index.add(x)
    path = str(folder / "faiss")
    out["save_ms"] = milliseconds(lambda: fs.write_index(index, path), 1)
    out["load_ms"] = milliseconds(lambda: fs.read_index(path), 3)
    out["load_mmap_ms"] = milliseconds(lambda: fs.read_index(path, fs.IO_FLAG_MMAP_IFC), 3)
    out["file_bytes"] = Path(path).stat().st_size
    return out


TASKS = {task.__name__: task for task in (ours_builds, ours_opens, ours_shares, turbovec, faiss)}


def start(task: str, folder: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """Start a task in a process of its own."""
    line = [sys.executable, __file__, "--task", task, "--folder", str(folder)]
    line += ["--dim", str(options.dim), "--bits", str(options.bits)]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """Return what a task has measured, None if it could not."""
    text = process.communicate("\n")[0]
    return json.loads(text.splitlines()[-1]) if process.returncode == 0 else None


def main() -> None:
    """Measure and write results/files.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--task", choices=TASKS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task](options.folder, options.dim, options.bits)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, rng = Path(name), np.random.default_rng(0)
        with (folder / "vectors.f32").open("wb") as file:
            for first in range(0, options.rows, BATCH):
                rng.standard_normal((min(BATCH, options.rows - first), options.dim), np.float32).tofile(file)
        found: dict[str, Any] = {"machine": harness.machine(), "rows": options.rows, "dim": options.dim}
        found |= {"bits": options.bits, "building": result_of(start("ours_builds", folder, options))}
        pair = [start("ours_shares", folder, options) for _ in range(2)]
        for process in pair:
            assert process.stdout is not None
            process.stdout.readline()
        shares = []
        for process in pair:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            shares.append(json.loads(process.stdout.readline()))
        # Both are there until each has told its share.
        for process in pair:
            process.communicate("\n")
        found["two_processes"] = shares
        found["opening"] = result_of(start("ours_opens", folder, options))
        found["turbovec"] = result_of(start("turbovec", folder, options))
        found["faiss IndexScalarQuantizer QT_4bit"] = result_of(start("faiss", folder, options))
    print(harness.write("files", found).read_text())


if __name__ == "__main__":
    main()

"""Changes of a large index: add, upsert, find and remove one vector, remove a tenth, commit; FAISS and turbovec, too.

    python benches/ids.py [--rows 1000000] [--dim 384] [--bits 4] [--folder /tmp]

Ids are given and in random order, so that every one is found through the index's table. Each library runs in a process
of its own, ours once more from Rust (``benches/rust/ids.rs``). Times are of one call each, the process's first removal
apart; files are in ``--folder``. A commit waits for the disk twice (docs/format.md): in turn with each one, two appends
of 2 kB with fsync say what the disk takes of it, and commits in a file system in memory what we do. What files.py
measures is not measured again. Peers that are not installed are left out:
``pip install faiss-cpu==1.15.1 turbovec==1.1.2``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import numpy as np

BATCH = 16_384
#: Calls of one vector, and of what takes milliseconds.
CALLS, FEW = 1_000, 30
#: A file system in memory, where synchronising costs nothing.
MEMORY = Path("/dev/shm")


class Rows:
    """Vectors and ids: one batch of random vectors again and again, ids in random order, more of both to add."""

    def __init__(self, rows: int, dim: int) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((BATCH, dim), np.float32)
        self.ids = rng.permutation(rows)
        self.new = iter(range(rows, 2 * rows))
        self._old = iter(self.ids.tolist())

    def batches(self) -> Iterator[tuple[Any, Any]]:
        """Yield vectors and their ids."""
        for first in range(0, len(self.ids), BATCH):
            ids = self.ids[first : first + BATCH]
            yield self.x[: len(ids)], ids

    def one(self) -> Any:
        """Return one vector, (1, dim)."""
        row = next(self.new) % BATCH
        return self.x[row : row + 1]

    def old(self) -> int:
        """Return an id that was not returned before."""
        return next(self._old)

    def tenth(self) -> Any:
        """Return a tenth of the ids, none of which was returned before."""
        return np.array([self.old() for _ in range(len(self.ids) // 10)])


def times(call: Callable[..., object], *arguments: Callable[[], object], calls: int = CALLS) -> dict[str, float]:
    """Return median, least and largest microseconds of calls, whose arguments are made outside of that time."""
    taken = []
    for _ in range(calls):
        values = [argument() for argument in arguments]
        start = time.perf_counter()
        call(*values)
        taken.append(1e6 * (time.perf_counter() - start))
    return harness.summary(taken)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the time of one call."""
    return times(call, calls=1)["median"] / 1e3


def commits(index: Any, change: Callable[[], object], folder: Path) -> dict[str, Any]:
    """Return microseconds of commits of a change, of two appends with fsync in turn with them, and without disk."""
    out: dict[str, list[float]] = {"commit": [], "two_appends_with_fsync": [], "commit_in_memory": []}

    def note(name: str, call: Callable[[], object]) -> None:
        start = time.perf_counter()
        call()
        out[name].append(1e6 * (time.perf_counter() - start))

    with tempfile.TemporaryFile(dir=folder) as file:

        def two_appends() -> None:
            for _ in range(2):
                file.write(bytes(2_000))
                file.flush()
                os.fsync(file.fileno())

        for _ in range(FEW):
            change()
            note("commit", index.commit)
            note("two_appends_with_fsync", two_appends)
    if MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=MEMORY) as memory:
            index.save(Path(memory) / "ours.tqi")
            for _ in range(FEW):
                change()
                note("commit_in_memory", index.commit)
        index.save(folder / "ours.tqi")
    return {name: harness.summary(taken) for name, taken in out.items() if taken}


def ours(rows: Rows, folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """Index of int64 ids, a saved one, and a mapped one."""
    from turboquant_rs import Index

    index, out, path = Index(dim, bits), {}, folder / "ours.tqi"
    for x, ids in rows.batches():
        index.add(x, ids)
    out["add_us"] = times(lambda x, i: index.add(x, i), rows.one, lambda: [next(rows.new)])
    out["add_of_assigned_id_us"] = times(index.add, rows.one)
    out["upsert_us"] = times(lambda x, i: index.upsert(x, i), rows.one, lambda: [rows.old()])
    out["contains_us"] = times(index.__contains__, rows.old)
    out["remove_us"] = times(index.remove, rows.old)
    tenth = rows.tenth()
    out["remove_a_tenth_ms"] = milliseconds(lambda: index.remove(tenth))
    out["compact_ms"] = milliseconds(index.compact)
    index.save(path)
    out["commit_of_add_us"] = commits(index, lambda: index.add(rows.one()), folder)
    out["commit_of_remove_us"] = commits(index, lambda: index.remove(rows.old()), folder)
    tenth = rows.tenth()
    index.remove(tenth)
    out["commit_of_a_tenth_removed_ms"] = milliseconds(index.commit)
    mapped = Index.open(path)
    out["first_remove_of_mapped_ms"] = milliseconds(lambda: mapped.remove(rows.old()))
    out["remove_of_mapped_us"] = times(mapped.remove, rows.old)
    return out


def rust(rows: Rows, folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """The same calls without Python."""
    command = ["cargo", "bench", "--quiet", "--package", "turboquant-rs-core", "--bench", "ids", "--locked", "--"]
    command += [str(len(rows.ids)), str(dim), str(bits)]
    done = subprocess.run(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: harness.summary(value) if isinstance(value, list) else value for name, value in found.items()}


def turbovec(rows: Rows, folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """IdMapIndex: no upsert, and ids removed one by one."""
    import turbovec as tv

    index, out, path = tv.IdMapIndex(dim, bits), {}, str(folder / "turbovec")
    for x, ids in rows.batches():
        index.add_with_ids(x, ids.astype(np.uint64))
    out["first_remove_ms"] = milliseconds(lambda: index.remove(rows.old()))
    out["add_us"] = times(index.add_with_ids, rows.one, lambda: np.array([next(rows.new)], np.uint64))
    out["contains_us"] = times(index.contains, rows.old)
    out["remove_us"] = times(index.remove, rows.old)
    tenth = rows.tenth().tolist()
    out["remove_a_tenth_ms"] = milliseconds(lambda: [index.remove(id_) for id_ in tenth])
    out["first_sync_ms"] = milliseconds(lambda: index.sync(path))
    add = lambda: index.add_with_ids(rows.one(), np.array([next(rows.new)], np.uint64))  # noqa: E731
    syncs = {"add": times(lambda _: index.sync(path), add, calls=FEW)}
    syncs["remove"] = times(lambda _: index.sync(path), lambda: index.remove(rows.old()), calls=FEW)
    return out | {"sync_us": syncs}


def faiss(rows: Rows, folder: Path, dim: int, bits: int) -> dict[str, Any]:
    """A 4-bit scalar quantiser with an id map: a removal moves every row behind it, a save writes the whole file."""
    import faiss as fs

    inner, out = fs.IndexScalarQuantizer(dim, fs.ScalarQuantizer.QT_4bit, fs.METRIC_INNER_PRODUCT), {}
    inner.train(rows.x)
    index = fs.IndexIDMap(inner)
    for x, ids in rows.batches():
        index.add_with_ids(x, ids)
    out["add_us"] = times(index.add_with_ids, rows.one, lambda: np.array([next(rows.new)]))
    out["remove_us"] = times(index.remove_ids, lambda: np.array([rows.old()]), calls=FEW)
    tenth = rows.tenth()
    out["remove_a_tenth_ms"] = milliseconds(lambda: index.remove_ids(tenth))
    out["write_us"] = times(lambda: fs.write_index(index, str(folder / "faiss")), calls=3)
    return out


TASKS = {task.__name__: task for task in (ours, rust, turbovec, faiss)}


def main() -> None:
    """Measure and write results/ids.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 1_000_000), ("dim", 384), ("bits", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--task", choices=TASKS)
    options = parser.parse_args()
    if options.task:
        rows = Rows(options.rows, options.dim)
        print(json.dumps(TASKS[options.task](rows, options.folder, options.dim, options.bits)))
        return
    found: dict[str, Any] = {"machine": harness.machine(), "rows": options.rows, "dim": options.dim}
    found["bits"] = options.bits
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for task in TASKS:
            line = [sys.executable, __file__, "--task", task, "--folder", folder]
            line += [f"--{name}={getattr(options, name)}" for name in ("rows", "dim", "bits")]
            done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
            found[task] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    print(harness.write("ids", found).read_text())


if __name__ == "__main__":
    main()

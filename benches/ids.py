"""Changes of a large index: add, upsert, find and remove one vector, remove a tenth, commit; FAISS and turbovec, too.

    python benches/ids.py [--rows 1000000] [--dim 384] [--bits 4] [--folder /tmp]

Ids are given and in random order, so that every one is found through the index's table. Each library runs in a process
of its own, ours once more from Rust (``benches/rust/ids.rs``). Times are of one call each, the process's first removal
apart; files are in ``--folder``, and an append of 2 kB with fsync there says what the disk takes of a commit. What
files.py measures is not measured again. Peers that are not installed are left out:
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


def disk(folder: Path) -> dict[str, float]:
    """Return microseconds of an append of 2 kB with fsync."""
    with tempfile.TemporaryFile(dir=folder) as file:

        def append() -> None:
            file.write(bytes(2_000))
            file.flush()
            os.fsync(file.fileno())

        return times(append, calls=FEW)


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
    commits: dict[str, Any] = {}
    changes = {"add": lambda: index.add(rows.one()), "remove": lambda: index.remove(rows.old())}
    for name, change in changes.items():
        commits[name] = times(lambda _: index.commit(), change, calls=FEW)
    tenth = rows.tenth()
    index.remove(tenth)
    commits["remove_a_tenth"] = times(index.commit, calls=1)
    out["commit_us"] = commits
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
        found["append_with_fsync_us"] = disk(Path(folder))
        for task in TASKS:
            line = [sys.executable, __file__, "--task", task, "--folder", folder]
            line += [f"--{name}={getattr(options, name)}" for name in ("rows", "dim", "bits")]
            done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
            found[task] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    print(harness.write("ids", found).read_text())


if __name__ == "__main__":
    main()

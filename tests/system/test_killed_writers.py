"""Writers killed at random moments: whoever opens the file next finds the last committed state or the one after it.

`make test-crash` runs it 500 times.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from turboquant_rs import Index, TurboQuant

RUNS = int(os.environ.get("TURBOQUANT_CRASH_RUNS", "25"))
DIM = 24
#: Seconds that a writer lives at most: a dozen commits.
LIVES = 0.04

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def batch(first: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Rows that are added when there are `first`: they follow from that number alone."""
    rng = np.random.default_rng(first)
    return rng.standard_normal((1 + first * 7 % 90, DIM), np.float32)


def next_id(index: Index) -> int:
    """How many rows were ever added: the newest are never removed."""
    return int(index.ids.max(initial=-1)) + 1


def step(index: Index) -> None:
    """Add a batch, and remove some of the older rows: which follows from the rows added so far."""
    first = next_id(index)
    index.add(batch(first), threads=1)
    if first % 3:
        index.remove([row for row in range(first % 11, first, 11 + first % 5) if row in index])


def expected(added: int) -> Index:
    """The index that writers make, batch by batch, until so many rows were added."""
    index = Index(codec=TurboQuant(DIM, 3), metric="l2")
    while next_id(index) < added:
        step(index)
    return index


def content(index: Index) -> bytes:
    """The bytes of an index without the removed rows, whose places say when it was compacted last."""
    index.compact()
    return index.to_bytes()


def write(path: Path, said: int) -> None:
    """Add, remove and commit, or now and then save, until killed; say what is about to be written and what has been."""
    index = Index.open(path, mmap=random.random() < 0.5)
    while True:
        step(index)
        os.write(said, b"%d started\n" % next_id(index))
        if random.random() < 0.1:
            index.save(path)
        else:
            index.commit()
        os.write(said, b"%d done\n" % next_id(index))


def test_killed_writers_leave_the_last_committed_state(tmp_path: Path) -> None:
    path = tmp_path / "index.tqi"
    moments = random.Random(5)
    interrupted = removed = 0
    for run in range(RUNS):
        if run % 20 == 0:
            expected(0).save(path)
            done = 0
        listen, said = os.pipe()
        child = os.fork()
        if child == 0:
            random.seed(run)
            try:
                write(path, said)
            finally:
                os._exit(1)
        os.close(said)
        time.sleep(moments.random() * LIVES)
        os.kill(child, signal.SIGKILL)
        with os.fdopen(listen) as lines:
            words = [line.split() for line in lines if line.endswith("\n")]
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "a writer ended by itself"
        started = max([done, *(int(added) for added, word in words if word == "started")])
        done = max([done, *(int(added) for added, word in words if word == "done")])
        index = Index.open(path, mmap=run % 2 == 0)
        index.verify()
        added = next_id(index)
        assert added in {done, started}, (run, added, done, started)
        removed += index.info()["removed"]
        assert content(index) == content(expected(added)), run
        interrupted += started > done
        done = added
    assert interrupted > 0, "no writer was killed between start and end of a commit"
    assert removed > 0, "no file held removed rows"
    left = [other.name for other in tmp_path.iterdir() if other != path]
    assert all(name.endswith(".part") for name in left), left

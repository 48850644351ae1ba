"""An index that rows come to and leave, in any order of steps, equals the reference: ids and scores, to the bit."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from fits import fitted_pair, random_parts
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from strategies import METRICS, pair, same
from turboquant_rs import Index
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference.index_file import read_index

DIM = 24
KEEPS = (None, "float32", "float16", "bfloat16", "int8")
_DEPTH = os.environ.get("TURBOQUANT_TEST_DEPTH") or "full"


class Steps(RuleBasedStateMachine):
    """The package's index, and the reference's with the same steps; string ids are numbered in the order of adding."""

    @initialize(
        metric=st.sampled_from(METRICS),
        bits=st.integers(1, 5),
        fitted=st.booleans(),
        keep=st.sampled_from(KEEPS),
        names=st.booleans(),
        seed=st.integers(0, 99),
    )
    def start(self, metric: Any, bits: int, fitted: bool, keep: Any, names: bool, seed: int) -> None:
        self.codecs = fitted_pair(random_parts(DIM, seed, axes=12)) if fitted else pair(DIM, bits, seed=seed)
        self.rng = np.random.default_rng(seed)
        self.metric, self.keep = metric, keep
        self.index = Index(codec=self.codecs.fast, metric=metric, keep=keep)
        self.model = ReferenceIndex(self.codecs.plain, metric, keep)
        self.largest = -1
        self.folder = TemporaryDirectory()
        self.path, self.has_home = Path(self.folder.name) / "index.tqi", False
        #: The strings that the model's ids stand for.
        self.names: dict[int, str] | None = {} if names else None

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def rows(self, n: int) -> Any:
        x = self.rng.standard_normal((n, DIM)).astype(np.float32)
        x[:, : DIM // 2] *= self.rng.choice([0.01, 1, 3], (n, 1))  # unlike what a fitted codec was made for
        return x

    def number_of(self, name: str) -> int | None:
        assert self.names is not None
        return next((i for i, other in self.names.items() if other == name and i in self.model.ids), None)

    def put(self, index: Index, x: Any, wanted: list[int] | None, *, replace: bool) -> None:
        """Add or upsert; ``wanted`` are small integers, from which names are made where ids are strings."""
        if self.names is None:
            if replace:
                ids = index.upsert(x, wanted)  # type: ignore[arg-type]
                self.model.upsert(x, ids)
            else:
                ids = index.add(x, wanted)
                self.model.add(x, ids)
                if wanted is None:
                    assert ids.tolist() == list(range(self.largest + 1, self.largest + 1 + len(x)))
            self.largest = max([self.largest, *ids.tolist()])
            return
        texts = [f"row {i}" for i in wanted or []]
        given = index.upsert(x, texts) if replace else index.add(x, texts)
        assert given.tolist() == texts
        old = [i for i in map(self.number_of, texts) if i is not None]
        new = np.arange(len(texts)) + self.largest + 1
        self.model.remove(np.array(old, np.int64))
        self.model.add(x, new)
        self.names |= dict(zip(new.tolist(), texts, strict=True))
        self.largest += len(texts)

    def outside(self, ids: list[int]) -> list[Any]:
        return ids if self.names is None else [self.names[i] for i in ids]

    @rule(n=st.integers(0, 70))
    def add(self, n: int) -> None:
        if self.names is None:
            self.put(self.index, self.rows(n), None, replace=False)
        else:
            free = [i for i in range(200, 400) if self.number_of(f"row {i}") is None][:n]
            self.put(self.index, self.rows(len(free)), free, replace=False)

    @rule(wanted=st.lists(st.integers(0, 80), unique=True, max_size=15))
    def add_under_ids(self, wanted: list[int]) -> None:
        if self.names is None:
            taken = [i for i in wanted if i in self.model.ids]
        else:
            taken = [i for i in wanted if self.number_of(f"row {i}") is not None]
        if not taken:
            self.put(self.index, self.rows(len(wanted)), wanted, replace=False)
            return
        ids: list[Any] = wanted if self.names is None else [f"row {i}" for i in wanted]
        with pytest.raises(ValueError, match="a second time"):
            self.index.add(self.rows(len(wanted)), ids)

    @rule(wanted=st.lists(st.integers(0, 80), unique=True, max_size=15))
    def upsert(self, wanted: list[int]) -> None:
        self.put(self.index, self.rows(len(wanted)), wanted, replace=True)

    @rule(share=st.sampled_from([0.02, 0.1, 0.3, 0.9]))
    def remove(self, share: float) -> None:
        gone = self.model.ids[self.rng.random(len(self.model.ids)) < share]
        outside = self.outside(gone.tolist())
        if outside:
            unknown: Any = "no row" if self.names is not None else 2**62
            with pytest.raises(KeyError, match="must be in the index"):
                self.index.remove([*outside, unknown])
        self.index.remove(outside)
        self.model.remove(gone)

    @rule()
    def compact(self) -> None:
        self.index.compact()
        assert self.index.info()["removed"] == 0

    @rule(again=st.sampled_from([None, "map", "read", "bytes"]))
    def store(self, again: str | None) -> None:
        """Save, or commit where there is a file; go on with the index, or with what is opened."""
        if self.path.exists() and self.has_home:
            self.index.commit()
        else:
            self.index.save(self.path)
        self.has_home = again != "bytes"
        if again is not None:
            opened = {"map": Index.open, "read": lambda path: Index.open(path, mmap=False)}
            data = self.path.read_bytes()
            self.index = Index.from_bytes(data) if again == "bytes" else opened[again](self.path)
            self.index.verify()
            read = read_index(data)
            assert list(read.ids if read.names is None else read.names) == list(self.index.ids)

    @rule(wanted=st.lists(st.integers(500, 580), unique=True, max_size=20))
    def extend(self, wanted: list[int]) -> None:
        """Rows of another index, one of which was removed there."""
        if self.names is None:
            wanted = [i for i in wanted if i not in self.model.ids]
        else:
            wanted = [i for i in wanted if self.number_of(f"row {i}") is None]
        if not wanted:
            return
        other = Index(codec=self.codecs.fast, metric=self.metric, keep=self.keep)
        x = self.rows(len(wanted))
        ids: list[Any] = wanted if self.names is None else [f"row {i}" for i in wanted]
        other.add(x, ids)
        other.remove(ids[0])
        self.index.extend(other)
        twin, self.index = self.index, Index(codec=self.codecs.fast, metric=self.metric, keep=self.keep)
        self.put(self.index, x[1:], wanted[1:], replace=False)  # the model's part
        self.index = twin
        if self.names is None:
            self.largest = max([self.largest, *wanted])

    def allowed(self, share: float | None, form: str) -> tuple[Any, Any]:
        """A filter of a share of the rows, as it is given, and the reference's mask."""
        if share is None:
            return None, None
        mask = self.rng.random(len(self.model.ids)) < share
        ids = self.outside(self.model.ids[mask].tolist())
        return {"mask": mask, "ids": ids, "filter": self.index.filter(mask)}[form], mask

    @rule(
        nq=st.integers(1, 11),
        k=st.integers(1, 20),
        rescore=st.sampled_from([None, 1, 3]),
        share=st.sampled_from([None, 0.1, 0.5, 1]),
        form=st.sampled_from(["mask", "ids", "filter"]),
    )
    def search(self, nq: int, k: int, rescore: int | None, share: float | None, form: str) -> None:
        queries = self.rows(nq)
        if rescore is not None and self.keep is None:
            with pytest.raises(ValueError, match="rescore must be None"):
                self.index.search(queries, k, rescore=rescore)
            return
        allowed, mask = self.allowed(share, form)
        scores, ids = self.index.search(queries, k, rescore=rescore, filter=allowed)
        want_scores, want = self.model.search(queries, k, rescore, allowed=mask)
        if self.names is not None and ids.dtype == object:
            names = self.names
            assert ids.tolist() == [[None if i < 0 else names[i] for i in row] for row in want.tolist()]
        else:
            assert same(ids, want)
        assert same(scores, want_scores)

    @rule(nq=st.integers(1, 11), threshold=st.floats(-2, 20), share=st.sampled_from([None, 0.3]))
    def range_search(self, nq: int, threshold: float, share: float | None) -> None:
        queries = self.rows(nq)
        allowed, mask = self.allowed(share, "ids")
        lims, scores, ids = self.index.range_search(queries, threshold, filter=allowed)
        want_lims, want_scores, want = self.model.range_search(queries, threshold, allowed=mask)
        assert lims.tolist() == want_lims.tolist()
        assert same(scores, want_scores)
        assert ids.tolist() == self.outside(want.tolist())

    @invariant()
    def the_same_rows(self) -> None:
        if not hasattr(self, "index"):
            return
        outside = self.outside(self.model.ids.tolist())
        assert len(self.index) == len(outside)
        assert list(self.index) == outside
        assert all(row_id in self.index for row_id in outside[:5])
        assert "no row" not in self.index
        info = self.index.info()
        assert 4 * info["removed"] <= info["n"] + info["removed"], "compaction comes by itself"


TestSteps = Steps.TestCase
TestSteps.settings = settings(
    max_examples={"quick": 4, "full": 40}.get(_DEPTH, 400),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

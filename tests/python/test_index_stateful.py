"""An index that rows come to and leave, in any order of steps, equals the reference: ids and scores, to the bit."""

from __future__ import annotations

import os
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from fits import fitted_pair, random_parts
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from strategies import METRICS, pair, same
from turboquant_rs import Index
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference.index_file import read_index

DIM = 24
KEEPS = (None, "float32", "float16", "bfloat16", "int8")
_DEPTH = os.environ.get("TURBOQUANT_TEST_DEPTH") or "full"


@dataclass
class Content:
    """What an index must hold; string ids are numbered in the order of adding."""

    model: ReferenceIndex
    #: The strings that the model's ids stand for, those of removed rows too.
    names: dict[int, str] | None
    #: The largest id that ever was there.
    largest: int = -1

    def snapshot(self) -> Content:
        """Return what later steps leave as it is."""
        model = copy(self.model)
        model.partitions = list(model.partitions)
        return Content(model, None if self.names is None else dict(self.names), self.largest)

    def outside(self, ids: list[int] | None = None) -> list[Any]:
        """Return ids, or all of them, as callers know them."""
        ids = self.model.ids.tolist() if ids is None else ids
        return ids if self.names is None else [self.names[i] for i in ids]

    def number_of(self, name: str) -> int | None:
        assert self.names is not None
        return next((i for i, other in self.names.items() if other == name and i in self.model.ids), None)

    def taken(self, wanted: list[int]) -> list[int]:
        """Return which small integers, or the names that are made from them, are there."""
        if self.names is None:
            return [i for i in wanted if i in self.model.ids]
        return [i for i in wanted if self.number_of(f"row {i}") is not None]

    def append(self, other: Content) -> None:
        """Add the rows of another index."""
        model, shift = self.model, 0
        if self.names is not None:
            assert other.names is not None
            shift = self.largest + 1
            self.names |= {shift + i: name for i, name in other.names.items()}
        for codec, numbers, codes in other.model.partitions:
            model.append(codec, len(model.ids) + numbers, codes)
        model.ids = np.concatenate([model.ids, shift + other.model.ids])
        model.squares = np.concatenate([model.squares, other.model.squares])
        model.originals = np.concatenate([model.originals, other.model.originals])
        self.largest = max(self.largest, shift + other.largest)

    def check_found(self, found: Any, want: Any) -> None:
        """Compare what a search finds with what the reference does."""
        (scores, ids), (want_scores, want_ids) = found, want
        if self.names is not None and ids.dtype == object:
            names = self.names
            assert ids.tolist() == [[None if i < 0 else names[i] for i in row] for row in want_ids.tolist()]
        else:
            assert same(ids, want_ids)
        assert same(scores, want_scores)


class Steps(RuleBasedStateMachine):
    """The package's index, and the reference's with the same steps."""

    #: What the file holds.
    stored: Content | None = None
    #: Another index of the file; the bytes that it has seen, and what they hold.
    reader: Index | None = None
    seen: tuple[bytes, Content]

    @initialize(
        metric=st.sampled_from(METRICS),
        bits=st.integers(1, 5),
        fitted=st.booleans(),
        keep=st.sampled_from(KEEPS),
        names=st.booleans(),
        many=st.booleans(),
        seed=st.integers(0, 99),
    )
    def start(self, metric: Any, bits: int, fitted: bool, keep: Any, names: bool, many: bool, seed: int) -> None:
        self.codecs = fitted_pair(random_parts(DIM, seed, axes=12)) if fitted else pair(DIM, bits, seed=seed)
        self.rng = np.random.default_rng(seed)
        self.metric, self.keep = metric, keep
        self.index = Index(codec=self.codecs.fast, metric=metric, keep=keep)
        self.content = Content(ReferenceIndex(self.codecs.plain, metric, keep), {} if names else None)
        self.folder = TemporaryDirectory()
        self.path, self.has_home = Path(self.folder.name) / "index.tqi", False
        if many:
            # Rows enough for searches of so many that these are collected in another way.
            self.put(self.index, self.content, self.rows(400), list(range(1_000, 1_400)), replace=False)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def rows(self, n: int) -> Any:
        x = self.rng.standard_normal((n, DIM)).astype(np.float32)
        x[:, : DIM // 2] *= self.rng.choice([0.01, 1, 3], (n, 1))  # unlike what a fitted codec was made for
        return x

    @staticmethod
    def put(index: Index, content: Content, x: Any, wanted: list[int] | None, *, replace: bool) -> None:
        """Add or upsert; ``wanted`` are small integers, from which names are made where ids are strings."""
        model, first = content.model, content.largest + 1
        if content.names is None:
            if replace:
                ids = index.upsert(x, wanted)  # type: ignore[arg-type]
                model.upsert(x, ids)
            else:
                ids = index.add(x, wanted)
                model.add(x, ids)
                if wanted is None:
                    assert ids.tolist() == list(range(first, first + len(x)))
            content.largest = max([content.largest, *ids.tolist()])
            return
        texts = [f"row {i}" for i in wanted or []]
        given = index.upsert(x, texts) if replace else index.add(x, texts)
        assert given.tolist() == texts
        old = [i for i in map(content.number_of, texts) if i is not None]
        new = first + np.arange(len(texts))
        model.remove(np.array(old, np.int64))
        model.add(x, new)
        content.names |= dict(zip(new.tolist(), texts, strict=True))
        content.largest += len(texts)

    @rule(n=st.integers(0, 70))
    def add(self, n: int) -> None:
        if self.content.names is None:
            self.put(self.index, self.content, self.rows(n), None, replace=False)
        else:
            free = [i for i in range(200, 400) if not self.content.taken([i])][:n]
            self.put(self.index, self.content, self.rows(len(free)), free, replace=False)

    @rule(wanted=st.lists(st.integers(0, 80), unique=True, max_size=15))
    def add_under_ids(self, wanted: list[int]) -> None:
        if not self.content.taken(wanted):
            self.put(self.index, self.content, self.rows(len(wanted)), wanted, replace=False)
            return
        ids: list[Any] = wanted if self.content.names is None else [f"row {i}" for i in wanted]
        with pytest.raises(ValueError, match="a second time"):
            self.index.add(self.rows(len(wanted)), ids)

    @rule(wanted=st.lists(st.integers(0, 80), unique=True, max_size=15))
    def upsert(self, wanted: list[int]) -> None:
        self.put(self.index, self.content, self.rows(len(wanted)), wanted, replace=True)

    @rule(share=st.sampled_from([0.02, 0.1, 0.3, 0.9]))
    def remove(self, share: float) -> None:
        model = self.content.model
        gone = model.ids[self.rng.random(len(model.ids)) < share]
        outside = self.content.outside(gone.tolist())
        if outside:
            unknown: Any = "no row" if self.content.names is not None else 2**62
            with pytest.raises(KeyError, match="must be in the index"):
                self.index.remove([*outside, unknown])
        self.index.remove(outside)
        model.remove(gone)

    @rule()
    def compact(self) -> None:
        self.index.compact()
        assert self.index.info()["removed"] == 0

    @rule(again=st.sampled_from([None, "map", "read", "bytes"]), beside=st.sampled_from([None, "map", "read"]))
    def store(self, again: str | None, beside: str | None) -> None:
        """Save, or commit where there is a file; go on with the index, or with what is opened. A reader may look."""
        if self.path.exists() and self.has_home:
            self.index.commit()
        else:
            self.index.save(self.path)
        self.stored = self.content.snapshot()
        self.has_home = again != "bytes"
        opened = {"map": Index.open, "read": lambda path: Index.open(path, mmap=False)}
        if again is not None:
            data = self.path.read_bytes()
            self.index = Index.from_bytes(data) if again == "bytes" else opened[again](self.path)
            self.index.verify()
            read = read_index(data)
            assert list(read.ids if read.names is None else read.names) == list(self.index.ids)
        if beside is not None and self.reader is None:
            self.reader, self.seen = opened[beside](self.path), self.file()
        elif beside is not None:
            self.refresh()

    @rule(wanted=st.lists(st.integers(500, 580), unique=True, max_size=20))
    def extend(self, wanted: list[int]) -> None:
        """Rows of another index, one of which was removed there."""
        other, content = self.other(wanted, self.content)
        self.index.extend(other)
        self.content.append(content)

    def other(self, wanted: list[int], beside: Content) -> tuple[Index, Content]:
        """Another index of rows that `beside` has not, the first of which was removed, and what it holds."""
        index = Index(codec=self.codecs.fast, metric=self.metric, keep=self.keep)
        model = ReferenceIndex(self.codecs.plain, self.metric, self.keep)
        content = Content(model, None if self.content.names is None else {})
        wanted = [i for i in wanted if not beside.taken([i])]
        self.put(index, content, self.rows(len(wanted)), wanted, replace=False)
        if wanted:
            index.remove(content.outside()[0])
            model.remove(model.ids[:1])
        return index, content

    @precondition(lambda self: self.reader is not None)
    @rule()
    def refresh(self) -> None:
        """The reader has what it has seen, and then what was committed or saved since."""
        self.check_reader()
        before, self.seen = self.seen, self.file()
        assert self.reader.refresh() or self.seen[0] == before[0]
        assert not self.reader.refresh()
        self.check_reader()

    def file(self) -> tuple[bytes, Content]:
        assert self.stored is not None
        return self.path.read_bytes(), self.stored

    def check_reader(self) -> None:
        content, queries = self.seen[1], self.rows(2)
        assert list(self.reader) == content.outside()
        content.check_found(self.reader.search(queries, 7), content.model.search(queries, 7))

    @precondition(lambda self: self.stored is not None)
    @rule(wanted=st.lists(st.integers(600, 680), unique=True, max_size=20), behind=st.booleans(), mmap=st.booleans())
    def open_several(self, wanted: list[int], behind: bool, mmap: bool) -> None:
        """Go on with the file and another one, as one index that belongs to neither."""
        other, content = self.other(wanted, self.stored)
        path = self.path.with_name("other.tqi")
        other.save(path)
        contents, paths = [self.stored.snapshot(), content], [self.path, path]
        if not behind:
            contents, paths = contents[::-1], paths[::-1]
        self.index, (self.content, last) = Index.open(paths, mmap=mmap), contents
        self.content.append(last)
        self.has_home = False

    def allowed(self, share: float | None, form: str) -> tuple[Any, Any]:
        """A filter of a share of the rows, as it is given, and the reference's mask."""
        if share is None:
            return None, None
        mask = self.rng.random(len(self.content.model.ids)) < share
        ids = self.content.outside(self.content.model.ids[mask].tolist())
        return {"mask": mask, "ids": ids, "filter": self.index.filter(mask)}[form], mask

    @rule(
        nq=st.integers(1, 11),
        k=st.integers(1, 20) | st.just(257),
        exact=st.booleans(),
        rescore=st.sampled_from([None, 1, 3]),
        share=st.sampled_from([None, 0.1, 0.5, 1]),
        form=st.sampled_from(["mask", "ids", "filter"]),
    )
    def search(self, nq: int, k: int, exact: bool, rescore: int | None, share: float | None, form: str) -> None:
        queries = self.rows(nq)
        if rescore is not None and self.keep is None:
            with pytest.raises(ValueError, match="rescore must be None"):
                self.index.search(queries, k, rescore=rescore)
            return
        allowed, mask = self.allowed(share, form)
        found = self.index.search(queries, k, rescore=rescore, filter=allowed, exact=exact)
        self.content.check_found(found, self.content.model.search(queries, k, rescore, allowed=mask))

    @rule(nq=st.integers(1, 11), threshold=st.floats(-2, 20), share=st.sampled_from([None, 0.3]))
    def range_search(self, nq: int, threshold: float, share: float | None) -> None:
        queries = self.rows(nq)
        allowed, mask = self.allowed(share, "ids")
        lims, scores, ids = self.index.range_search(queries, threshold, filter=allowed)
        want_lims, want_scores, want = self.content.model.range_search(queries, threshold, allowed=mask)
        assert lims.tolist() == want_lims.tolist()
        assert same(scores, want_scores)
        assert ids.tolist() == self.content.outside(want.tolist())

    @invariant()
    def the_same_rows(self) -> None:
        if not hasattr(self, "index"):
            return
        outside = self.content.outside()
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

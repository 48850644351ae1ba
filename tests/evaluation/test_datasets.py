"""The sample that comes with the package, and the full set in a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from turboquant_rs.evaluation import build_glosses
from turboquant_rs.evaluation.datasets import NAME, SAMPLE, default_cache, glosses_full, load_glosses_sample
from turboquant_rs.evaluation.metrics import true_neighbors


def test_sample() -> None:
    glosses = load_glosses_sample()
    assert glosses.base.shape == (5000, 384)
    assert glosses.queries.shape == (200, 384)
    assert glosses.base.dtype == glosses.queries.dtype == np.float32
    assert len(glosses.base_texts) == 5000
    assert len(glosses.query_texts) == 200
    for x in (glosses.base, glosses.queries):
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, atol=1e-4)
    assert len(set(glosses.base_texts) | set(glosses.query_texts)) == 5200
    assert 0.24 < np.linalg.norm(glosses.base.mean(axis=0)) < 0.31


def test_texts_and_embeddings_belong_together() -> None:
    """Near rows share words far more often than chance; with shifted texts they would not."""
    glosses = load_glosses_sample()
    nearest = true_neighbors(glosses.base, glosses.queries, 1).ids[:, 0]

    def share(shift: int) -> float:
        words = [set(t.replace(",", " ").replace(":", " ").split()) - STOP for t in glosses.base_texts]
        asked = [set(t.replace(",", " ").replace(":", " ").split()) - STOP for t in glosses.query_texts]
        return float(np.mean([bool(q & words[(i + shift) % 5000]) for q, i in zip(asked, nearest, strict=True)]))

    assert share(0) > 0.5
    assert share(1) < 0.3


STOP = {"a", "an", "the", "of", "or", "to", "in", "and", "with", "for", "by", "on", "that", "is", "as", "from", "used"}


def test_sample_is_small_and_carries_its_notices() -> None:
    sizes = {p.name: p.stat().st_size for p in SAMPLE.iterdir()}
    assert sorted(sizes) == ["NOTICE.md", "base.npy", "queries.npy", "texts.txt.gz"]
    assert sum(sizes.values()) < 4_400_000
    notice = " ".join((SAMPLE / "NOTICE.md").read_text(encoding="utf-8").replace("> ", "").split())
    for words in (
        "WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.",
        "Permission to use, copy, modify and distribute this software and database",
        'THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS"',
        "may not be used in advertising or publicity",
        "Apache License 2.0",
    ):
        assert words in notice


def test_full_set_from_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    for name, n in (("base", 5), ("queries", 2), ("train", 3)):
        np.save(folder / f"{name}.npy", np.full((n, 384), n, np.float16))
    build_glosses.write_texts(folder / "texts.txt.gz", [f"text {i}" for i in range(10)])
    monkeypatch.setenv("TURBOQUANT_CACHE", str(tmp_path))
    for full in (glosses_full(), glosses_full(tmp_path), glosses_full(str(folder))):
        assert [len(x) for x in (full.base, full.queries, full.train)] == [5, 2, 3]
        assert full.train.dtype == np.float32
        assert full.base_texts[0] == "text 0"
        assert full.query_texts == ("text 5", "text 6")
        assert full.train_texts == ("text 7", "text 8", "text 9")
    build_glosses.write_texts(folder / "texts.txt.gz", ["one"])
    with pytest.raises(ValueError, match="1 texts for 10 rows"):
        glosses_full()


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TURBOQUANT_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("TURBOQUANT_CACHE")
    assert default_cache().name == "turboquant-rs"

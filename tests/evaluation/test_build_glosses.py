"""The builder, on a dictionary of five lines and an embedding of one's own."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from turboquant_rs.evaluation import build_glosses
from turboquant_rs.evaluation.build_glosses import build, cut_sample, embed_blocks, find_wordnet, read_texts, text_of
from turboquant_rs.evaluation.datasets import glosses_full, load_glosses_sample

LINES = {
    "noun": [
        "  1 This software and database is being provided to you, the LICENSEE, by  ",
        '00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which exists; "all of it"; or may exist  ',
        "00001930 03 n 05 a_b 0 c 0 d 0 e 0 f 0 000 | five lemmas  ",
        "00001931 03 n 01 entity 0 000 | that which exists; or may exist  ",
    ],
    "verb": ['00001740 29 v 01 breathe 0 000 01 + 02 00 | draw air;;"I can breathe"  '],
    "adj": ["00001740 00 a 02 able(p) 0 galore(ip) 0 000 | having means  "],
    "adv": ["00001740 02 r 01 (a)cappella(a) 0 000 | without musical accompaniment  "],
}
TEXTS = {
    "entity: that which exists; or may exist",
    "a b, c, d, e: five lemmas",
    "breathe: draw air",
    "able, galore: having means",
    "(a)cappella: without musical accompaniment",
}


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "dict"
    folder.mkdir()
    for part, lines in LINES.items():
        (folder / f"data.{part}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def fake(texts: Sequence[str]) -> np.ndarray:
    return np.array([[len(t)] * 384 for t in texts], np.float32)


def test_texts(wordnet: Path) -> None:
    texts = read_texts(wordnet)
    assert set(texts) == TEXTS
    assert len(texts) == 5  # the two like ones are one
    assert texts == read_texts(wordnet)
    assert text_of(LINES["noun"][2]) == "a b, c, d, e: five lemmas"
    assert find_wordnet(wordnet.parent) == wordnet
    with pytest.raises(FileNotFoundError, match=r"data\.noun"):
        find_wordnet(wordnet / "none")


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    texts = [f"text {'x' * i}" for i in range(7)]
    done: list[str] = []

    def breaks(part: Sequence[str]) -> np.ndarray:
        if len(done) >= 4:
            raise KeyboardInterrupt
        done.extend(part)
        return fake(part)

    with pytest.raises(KeyboardInterrupt):
        embed_blocks(texts, tmp_path, breaks, block=2)
    assert done == texts[:4]

    def rest(part: Sequence[str]) -> np.ndarray:
        done.extend(part)
        return fake(part)

    rows = embed_blocks(texts, tmp_path, rest, block=2)
    assert done == texts
    assert rows.dtype == np.float16
    assert np.array_equal(rows, fake(texts))
    # Other texts are not taken from the blocks of these.
    assert np.array_equal(embed_blocks(texts[::-1], tmp_path, fake, block=2), fake(texts[::-1]))


def test_build_and_cut(wordnet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    build(folder, wordnet, embed=fake, sizes=(3, 1))
    texts = read_texts(wordnet)
    full = glosses_full(folder)
    assert [*full.base_texts, *full.query_texts, *full.train_texts] == texts
    assert np.array_equal(np.concatenate([full.base, full.queries, full.train]), fake(texts))
    assert not (folder / "blocks").exists()
    cut_sample(folder, tmp_path / "sample", rows=2, queries=1)
    assert np.array_equal(np.load(tmp_path / "sample/base.npy"), fake(texts[:2]))
    assert np.array_equal(np.load(tmp_path / "sample/queries.npy"), fake(texts[3:4]))
    assert gzip.decompress((tmp_path / "sample/texts.txt.gz").read_bytes()).decode().split("\n") == [
        *texts[:2],
        texts[3],
    ]


def test_another_version_of_wordnet_is_refused(wordnet: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another version"):
        build(tmp_path / "full", wordnet)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="pip install torch transformers"):
        embed_blocks(["a"], tmp_path)


def test_where_wordnet_is_installed_the_texts_are_ours() -> None:
    if not (build_glosses._INSTALLED / "data.noun").is_file():
        pytest.skip("the package wordnet-base is not installed")
    texts = read_texts(build_glosses._INSTALLED)
    assert build_glosses.digest(texts) == build_glosses.TEXTS_SHA256
    assert tuple(texts[:5000]) == load_glosses_sample().base_texts

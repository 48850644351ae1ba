"""Real embeddings: a sample that comes with the package, and the full set, built on demand.

WordNet glosses ("lemmas: definition") embedded by all-MiniLM-L6-v2: 384 dimensions, unit norm. Text embeddings are
mild: their mean vector is 0.26–0.31 of the norm and the effective dimension about 100. Notices:
data/glosses-minilm-384/NOTICE.md.
"""

from __future__ import annotations

import gzip
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

NAME = "glosses-minilm-384"
SAMPLE = Path(__file__).parent / "data" / NAME
ROWS_BASE = 100_000
ROWS_QUERIES = 2_000

_FILES = ("base.npy", "queries.npy", "train.npy", "texts.txt.gz")


@dataclass(frozen=True)
class Glosses:
    """Embeddings and their texts; queries are held out of base.

    Attributes
    ----------
    base, queries : ndarray of float32, shape (n, 384) and (nq, 384)
        Of norm 1 to within 1e-4: they are stored as float16.
    base_texts, query_texts : tuple of str
        In the order of the rows.
    """

    base: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]
    base_texts: tuple[str, ...]
    query_texts: tuple[str, ...]


@dataclass(frozen=True)
class FullGlosses(Glosses):
    """The full set: base, queries, and rows for fitting that are in neither.

    Attributes
    ----------
    train : ndarray of float32, shape (n_train, 384)
        Fit on these, never on base.
    train_texts : tuple of str
    """

    train: npt.NDArray[np.float32]
    train_texts: tuple[str, ...]


def load_glosses_sample() -> Glosses:
    """Load 5,000 embeddings and 200 queries; they come with the package.

    Returns
    -------
    Glosses

    Examples
    --------
    >>> glosses = load_glosses_sample()
    >>> glosses.base.shape, glosses.queries.shape, glosses.base.dtype
    ((5000, 384), (200, 384), dtype('float32'))
    >>> glosses.base_texts[3]
    'Arabist: a scholar who specializes in Arab languages and culture'
    """
    base, queries, texts = _rows(SAMPLE / "base.npy"), _rows(SAMPLE / "queries.npy"), _texts(SAMPLE)
    return Glosses(base, queries, texts[: len(base)], texts[len(base) :])


def glosses_full(cache: str | os.PathLike[str] | None = None, *, threads: int = 1) -> FullGlosses:
    """Load the full set, 100,000 + 2,000 queries + 15,648 for fitting; build it first if it is not in the cache.

    Building takes some minutes and needs torch, transformers, the model's package and WordNet: see `build_glosses`.

    Parameters
    ----------
    cache : path, optional
        A folder with base.npy, queries.npy, train.npy and texts.txt.gz, or one that has (or shall have) them in
        "glosses-minilm-384". Default: the environment variable TURBOQUANT_CACHE, else the user's cache folder.
    threads : int
        Of torch, for building.

    Returns
    -------
    FullGlosses

    Examples
    --------
    >>> glosses_full().base.shape  # doctest: +SKIP
    (100000, 384)
    """
    root = default_cache() if cache is None else Path(cache)
    folder = root if _complete(root) else root / NAME
    if not _complete(folder):
        from .build_glosses import build

        folder.mkdir(parents=True, exist_ok=True)
        build(folder, threads=threads)
    base, queries, train = (_rows(folder / name) for name in _FILES[:3])
    texts = _texts(folder)
    if len(texts) != len(base) + len(queries) + len(train):
        raise ValueError(f"{folder} has {len(texts)} texts for {len(base) + len(queries) + len(train)} rows")
    end = len(base) + len(queries)
    return FullGlosses(base, queries, texts[: len(base)], texts[len(base) : end], train, texts[end:])


def default_cache() -> Path:
    """Folder for data sets: TURBOQUANT_CACHE, else turboquant-rs in the platform's user cache folder."""
    chosen = os.environ.get("TURBOQUANT_CACHE")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = home / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return root / "turboquant-rs"


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _FILES)


def _rows(path: Path) -> npt.NDArray[np.float32]:
    return np.asarray(np.load(path), dtype=np.float32)


def _texts(folder: Path) -> tuple[str, ...]:
    return tuple(gzip.decompress((folder / "texts.txt.gz").read_bytes()).decode().split("\n"))

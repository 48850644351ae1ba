"""Synthetic vectors, each of which breaks something; deterministic by seed.

All generators have one signature, `f(n, dim, n_queries=0, seed=0, *, …)`, and return `Vectors(base, queries)`,
float32 of shape (n, dim) and (n_queries, dim). The structure (centres, axes, mean) is drawn from the seed alone, so
base and queries share it, and base does not depend on n_queries. `GENERATORS` names them. Equal seeds give equal
bytes on one version of NumPy; between versions its normals may change, so golden data must be stored, not
regenerated.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Vectors(NamedTuple):
    """Rows to encode and queries from the same distribution, float32."""

    base: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]


class Generator(Protocol):
    """The common signature; generators have further keyword arguments with defaults."""

    def __call__(self, n: int, dim: int, n_queries: int = 0, seed: int = 0) -> Vectors:
        """Generate."""
        ...


def isotropic(n: int, dim: int, n_queries: int = 0, seed: int = 0) -> Vectors:
    """Uniform directions, unit norm.

    The law that the codebook is made for: distortion must meet theory. As data the hardest: at large dim all rows are
    nearly as far, and a coarse stage excludes few.

    >>> isotropic(3, 8, n_queries=2).queries.shape
    (2, 8)
    """
    _, rows, more = _streams("isotropic", seed)
    return _pack(*(_unit(r.standard_normal((m, dim))) for r, m in ((rows, n), (more, n_queries))))


def shared_direction(n: int, dim: int, n_queries: int = 0, seed: int = 0, *, mean_cosine: float = 0.7) -> Vectors:
    """Unit rows around one direction, with an expected cosine of mean_cosine between two rows (0.65 to 0.8 is severe).

    Breaks scales that shrink the estimate: the ranking lives in the small part orthogonal to the direction, the
    error of a biased scale in the large part along it. Bounds that prune by a coarse stage let nearly all rows
    pass.

    >>> x = shared_direction(200, 64, mean_cosine=0.8).base
    >>> bool(abs(np.mean(x @ x.T) - 0.8) < 0.02)
    True
    """
    shape, rows, more = _streams("shared_direction", seed)
    u = _unit(shape.standard_normal((1, dim)))

    def draw(r: np.random.Generator, m: int) -> Floats:
        across = r.standard_normal((m, dim))
        across = _unit(across - (across @ u.T) * u) if dim > 1 else np.zeros((m, dim))
        return np.asarray(np.sqrt(mean_cosine) * u + np.sqrt(1.0 - mean_cosine) * across)

    return _pack(_unit(draw(rows, n)), _unit(draw(more, n_queries)))


def clusters(
    n: int, dim: int, n_queries: int = 0, seed: int = 0, *, n_clusters: int = 100, spread: float = 0.7
) -> Vectors:
    """Unit rows around random centres; spread is the norm of the deviation, that of a centre is 1.

    What inverted lists like. Breaks samples that miss a cluster, and row order when it follows the clusters.

    >>> clusters(3, 8).base.dtype
    dtype('float32')
    """
    shape, rows, more = _streams("clusters", seed)
    centres = _unit(shape.standard_normal((n_clusters, dim)))

    def draw(r: np.random.Generator, m: int) -> Floats:
        return _unit(centres[r.integers(0, n_clusters, m)] + spread * _unit(r.standard_normal((m, dim))))

    return _pack(draw(rows, n), draw(more, n_queries))


def tight_clusters(
    n: int, dim: int, n_queries: int = 0, seed: int = 0, *, n_clusters: int = 20, spread: float = 0.05
) -> Vectors:
    """Clusters so tight that neighbours are nearer to each other than a code of few bits resolves.

    Breaks fixed-size shortlists of a coarse stage (hundreds of rows tie in it) and unstable orders of equal scores.

    >>> tight_clusters(3, 8).base.shape
    (3, 8)
    """
    return clusters(n, dim, n_queries, seed, n_clusters=n_clusters, spread=spread)


def sparse(n: int, dim: int, n_queries: int = 0, seed: int = 0, *, nnz: int = 3) -> Vectors:
    """Unit rows with nnz normal entries at random places; a query is a row of base plus 0.2 of another, unit norm.

    Breaks rotations that mix in blocks, at dims with a large odd factor such as 1000 and 1032: coordinates stay far
    from Gaussian, and recall falls by up to 0.3.

    >>> int((sparse(5, 1000, nnz=3).base != 0).sum())
    15
    """
    _, rows, more = _streams("sparse", seed)
    return _perturbed(_scatter(rows, rows.standard_normal((n, min(nnz, dim))), dim), more, n_queries)


def one_hot(n: int, dim: int, n_queries: int = 0, seed: int = 0) -> Vectors:
    """Rows ±e_j, j in turn over a random order of the coordinates; queries as in `sparse`.

    The worst case of a structured rotation: every rotated coordinate has one magnitude if the rounds do not mix. Base
    has exact duplicates for n > 2·dim, and scores 0 in masses: ties.

    >>> np.abs(one_hot(4, 4).base).sum(axis=0).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    _, rows, more = _streams("one_hot", seed)
    order = rows.permutation(dim)
    x = np.zeros((n, dim))
    x[np.arange(n), order[np.arange(n) % dim]] = rows.choice([-1.0, 1.0], n)
    return _perturbed(x, more, n_queries)


def two_sparse(n: int, dim: int, n_queries: int = 0, seed: int = 0) -> Vectors:
    """Rows (±e_i ± e_j)/√2; queries as in `sparse`.

    After one Hadamard round half the coordinates cancel to zero and the others are ±√2: a code sees three values.

    >>> bool(np.all((two_sparse(4, 97).base != 0).sum(axis=1) == 2))
    True
    """
    _, rows, more = _streams("two_sparse", seed)
    return _perturbed(_scatter(rows, rows.choice([-1.0, 1.0], (n, min(2, dim))), dim), more, n_queries)


def lognormal_norms(n: int, dim: int, n_queries: int = 0, seed: int = 0, *, sigma: float = 1.0) -> Vectors:
    """Uniform directions with norms exp(sigma·N(0, 1)); queries too.

    Breaks code that drops or clips norms: by inner product the longest rows win, by L2 the short ones. Separates "ip",
    "cosine" and "l2", which agree on unit rows.

    >>> bool(np.ptp(np.linalg.norm(lognormal_norms(50, 8).base, axis=1)) > 1)
    True
    """
    _, rows, more = _streams("lognormal_norms", seed)

    def draw(r: np.random.Generator, m: int) -> Floats:
        return np.asarray(_unit(r.standard_normal((m, dim))) * np.exp(sigma * r.standard_normal((m, 1))))

    return _pack(draw(rows, n), draw(more, n_queries))


def low_rank(n: int, dim: int, n_queries: int = 0, seed: int = 0, *, rank: int = 8, noise: float = 0.0) -> Vectors:
    """Unit rows in a random subspace of `rank` dimensions, plus `noise` (norm) in all.

    Errors of codes do not average out over a few directions: recall falls far below isotropic data of the same dim, and
    one rotation seed differs from another. Fitted bit allocation shines; one bit for all axes is wasted.

    >>> int(np.linalg.matrix_rank(low_rank(40, 32, rank=4).base, tol=1e-4))
    4
    """
    shape, rows, more = _streams("low_rank", seed)
    axes = np.linalg.qr(shape.standard_normal((dim, min(rank, dim))))[0].T

    def draw(r: np.random.Generator, m: int) -> Floats:
        x = _unit(r.standard_normal((m, len(axes))) @ axes)
        return _unit(x + noise * _unit(r.standard_normal((m, dim)))) if noise else x

    return _pack(draw(rows, n), draw(more, n_queries))


def mean_dominated(
    n: int, dim: int, n_queries: int = 0, seed: int = 0, *, mean_share: float = 0.5, decay: float = 2.0
) -> Vectors:
    """Non-negative unit rows whose mean vector is about 0.75 of the norm; few directions carry the variance.

    Imitates pixels, SIFT and CNN features (mean 0.6 to 0.8, effective dimension 3 to 7): axis i of the deviations
    has a variance of i^−decay, and negative coordinates are cut off (mean_share is the share before). Distortion
    stays at theory while ranking breaks: with the plain norm, 2 bits can rank worse than 1, with the unbiased scale
    never. Rotation seeds differ by several points.

    >>> x = mean_dominated(500, 128).base
    >>> bool(x.min() >= 0 and 0.6 < np.linalg.norm(x.mean(axis=0)) < 0.8 and 3 < effective_dim(x) < 7)
    True
    """
    shape, rows, more = _streams("mean_dominated", seed)
    return _skewed(shape, (rows, n), (more, n_queries), dim, mean_share, decay, cut=True)


def embedding_like(
    n: int, dim: int, n_queries: int = 0, seed: int = 0, *, mean_share: float = 0.28, decay: float = 0.7
) -> Vectors:
    """Unit rows like text embeddings: mean vector 0.26 to 0.31 of the norm, effective dimension 60 to 136 at dim 384.

    Mild: what works here need not work on pixels.

    >>> x = embedding_like(2000, 384).base
    >>> bool(0.26 < np.linalg.norm(x.mean(axis=0)) < 0.31 and 60 < effective_dim(x) < 136)
    True
    """
    shape, rows, more = _streams("embedding_like", seed)
    return _skewed(shape, (rows, n), (more, n_queries), dim, mean_share, decay, cut=False)


#: Name → generator.
GENERATORS: dict[str, Generator] = {
    "isotropic": isotropic,
    "shared_direction": shared_direction,
    "clusters": clusters,
    "tight_clusters": tight_clusters,
    "sparse": sparse,
    "one_hot": one_hot,
    "two_sparse": two_sparse,
    "lognormal_norms": lognormal_norms,
    "low_rank": low_rank,
    "mean_dominated": mean_dominated,
    "embedding_like": embedding_like,
}


def effective_dim(x: npt.ArrayLike) -> float:
    """Participation ratio (Σλ)²/Σλ² of the eigenvalues λ of the covariance of rows (n, d).

    >>> round(effective_dim([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 6)
    2.0
    """
    rows = np.asarray(x, dtype=np.float64)
    centred = rows - rows.mean(axis=0)
    gram = centred.T @ centred
    return float(np.trace(gram) ** 2 / np.sum(gram * gram))


def _streams(name: str, seed: int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Independent streams for structure, base and queries."""
    key = zlib.crc32(name.encode())
    shape, rows, more = (np.random.default_rng([seed, key, part]) for part in range(3))
    return shape, rows, more


def _unit(x: Floats) -> Floats:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(norms > 0, norms, 1.0))


def _pack(base: Floats, queries: Floats) -> Vectors:
    return Vectors(base.astype(np.float32), queries.astype(np.float32))


def _scatter(r: np.random.Generator, values: Floats, dim: int) -> Floats:
    """Unit rows with the values at random distinct places."""
    n, nnz = values.shape
    places = np.stack([r.choice(dim, nnz, replace=False) for _ in range(n)]) if n else np.zeros((0, nnz), np.int64)
    x = np.zeros((n, dim))
    np.put_along_axis(x, places, values, axis=1)
    return _unit(x)


def _perturbed(base: Floats, more: np.random.Generator, n_queries: int) -> Vectors:
    """Queries: a row plus 0.2 of another; on sparse rows independent draws would share no coordinate."""
    if not n_queries:
        return _pack(base, base[:0])
    one, two = more.integers(0, len(base), (2, n_queries))
    return _pack(base, _unit(base[one] + 0.2 * base[two]))


def _skewed(
    shape: np.random.Generator,
    rows: tuple[np.random.Generator, int],
    more: tuple[np.random.Generator, int],
    dim: int,
    mean_share: float,
    decay: float,
    *,
    cut: bool,
) -> Vectors:
    """Unit rows mean + deviation, the deviation on random axes with variances i^−decay; with `cut`, max(0, ·)."""
    mean = _unit(np.abs(shape.standard_normal((1, dim))) if cut else shape.standard_normal((1, dim)))
    axes = np.linalg.qr(shape.standard_normal((dim, dim)))[0]
    variance = np.arange(1, dim + 1, dtype=np.float64) ** -decay
    deviations = np.sqrt(variance / variance.sum())[:, None] * axes
    a, b = mean_share, np.sqrt(1.0 - mean_share**2)

    def draw(r: np.random.Generator, m: int) -> Floats:
        x = a * mean + b * (r.standard_normal((m, dim)) @ deviations)
        if cut:  # in few dimensions all of a row may be cut
            x = np.where((x > 0).any(axis=1, keepdims=True), np.maximum(x, 0.0), mean)
        return _unit(x)

    return _pack(draw(*rows), draw(*more))

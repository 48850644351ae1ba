"""Estimated inner products: unbiased with the unbiased scale, and rounded by no more than what is promised.

Seeds are fixed, so each test either always passes or always fails; the false-alarm probabilities say how lucky or
unlucky the fixed seeds can have been.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from turboquant_rs import Codes, TurboQuant
from turboquant_rs.evaluation.datasets import load_glosses_sample
from turboquant_rs.reference.codebook import levels
from turboquant_rs.reference.lloyd_max import solve
from turboquant_rs.reference.rotation import Rotation
from turboquant_rs.reference.units import unpack

Rows = np.ndarray[Any, np.dtype[np.float32]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

# --- bias --------------------------------------------------------------------------------------------------------

#: Rotations that each bias is averaged over, and pairs of vectors at each.
ROTATIONS, PAIRS = 160, 24
#: A mean over independent rotations that is off by this many standard errors is a bias. Below, 220 numbers are tested;
#: under Student's t with 159 degrees of freedom 5.2 has probability 6e-7 a number, so 1.3e-4 for any false alarm.
Z = 5.2
KINDS = ("random", "one-hot", "2-sparse", "constant", "decaying")


def pairs_of(kind: str, dim: int, rho: float) -> tuple[Rows, Rows]:
    """Return rows and queries (PAIRS, dim) of norm 1 whose inner products are ``rho``."""
    rng = np.random.default_rng([dim, len(kind)])
    x = np.zeros((PAIRS, dim))
    if kind == "random":
        x = rng.standard_normal((PAIRS, dim))
    elif kind == "constant":
        x[:] = rng.standard_normal((PAIRS, 1))
    elif kind == "decaying":
        x = rng.standard_normal((PAIRS, dim)) / np.arange(1, dim + 1)
    else:
        for row in x:
            row[rng.choice(dim, 1 if kind == "one-hot" else 2, replace=False)] = rng.standard_normal()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    other = rng.standard_normal((PAIRS, dim))
    other -= np.einsum("ij,ij->i", other, x)[:, None] * x
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return x.astype(np.float32), (rho * x + math.sqrt(1 - rho**2) * other).astype(np.float32)


def bias(dim: int, bits: int, rho: float, kind: str, keep: int | None = None, **options: Any) -> tuple[float, float]:
    """Return the mean of ⟨q, x̂⟩ − ⟨q, x⟩ over rotations and pairs, and its standard error."""
    x, queries = pairs_of(kind, dim, rho)
    means = []
    for seed in range(ROTATIONS):
        q = TurboQuant(dim, bits, seed=seed, **options)
        codes = q.encode(x, threads=1)
        codes = codes if keep is None else codes.truncate(keep)
        errors = np.einsum("ij,ij->i", queries.astype(np.float64), q.decode(codes, threads=1) - x.astype(np.float64))
        means.append(errors.mean())
    return float(np.mean(means)), float(np.std(means, ddof=1) / math.sqrt(ROTATIONS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [64, 97, 200, 768])
def test_the_unbiased_scale_is_unbiased(dim: int, kind: str) -> None:
    wrong = []
    for bits in (1, 2, 4, 8):
        for rho, refine in ((0.0, False), (0.8, False), (0.8, 16)) if bits > 1 else ((0.0, False), (0.8, False)):
            mean, error = bias(dim, bits, rho, kind, refine=refine)
            if abs(mean) > Z * error:
                wrong.append(f"bits {bits}, rho {rho}, refine {refine}: {mean:.2e} ± {error:.1e}")
    assert not wrong, wrong


@pytest.mark.parametrize(("bits", "keep"), [(4, 2), (4, 1), (3, 1), (8, 4)])
def test_truncated_codes_stay_unbiased(bits: int, keep: int) -> None:
    for dim in (97, 768):
        mean, error = bias(dim, bits, 0.8, "random", keep)
        assert abs(mean) <= Z * error, (dim, mean, error)


@pytest.mark.parametrize("scale", ["mse", "paper"])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_biased_scales_are_caught(bits: int, scale: str) -> None:
    """The control: the same measurement finds the bias −ρ·D of the other scales, many standard errors from 0."""
    mean, error = bias(200, bits, 0.8, "random", scale=scale)
    assert abs(mean) > 2 * Z * error
    assert abs(mean + 0.8 * solve(bits, 200).distortion) < Z * error


# --- rounding of scores ------------------------------------------------------------------------------------------

#: Standard deviation of a score about the exact product of query and code, relative to |q||x|, at 128 dimensions and
#: more: bits 1–4, then 5–8. Theory at 128 dimensions: a query's largest coordinate is about 2.9σ, so a step is
#: 2.9/127·σ and rounding adds 2.9/(127·√12·√128) = 5.8e-4; integer levels add up to as much again at 4 bits.
BARS = {1: 8e-4, 2: 8e-4, 3: 8e-4, 4: 8e-4, 5: 1e-4, 6: 1e-4, 7: 1e-4, 8: 1e-4}
#: No single score may be off by more than this many times the bar: of 250,000 about normal errors one is beyond 6
#: standard deviations with probability 5e-4.
WORST = 6


def exact_scores(q: TurboQuant, codes: Codes, queries: Rows) -> Floats:
    """Return scale·⟨Rq, levels⟩ for all pairs, in float64.

    The rotation's own float32 rounding, some 1e-6 of |q|, is a hundredth of the bar for two-byte products.
    """
    level = levels(q.bits, codes.bits, q.dim).astype(np.float64)
    rotated = Rotation(q.dim, q.seed).apply(queries).astype(np.float64)
    result: Floats = (
        rotated @ level[unpack(codes.packed, q.dim, q.bits, codes.bits)].T * codes.scales[:, 0].astype(float)
    )
    return result


def rounding(q: TurboQuant, x: Rows, queries: Rows, keep: int | None = None) -> Floats:
    """Return (score − exact)/(|q||x|) for all pairs."""
    codes = q.encode(x) if keep is None else q.encode(x).truncate(keep)
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)[:, None] * np.linalg.norm(x.astype(np.float64), axis=1)
    result: Floats = (q.score(queries, codes).astype(np.float64) - exact_scores(q, codes, queries)) / norms
    return result


@pytest.mark.parametrize("dim", [128, 200, 384, 768, 1536, 3072])
def test_scores_round_within_the_bars(dim: int) -> None:
    rng = np.random.default_rng(dim)
    x, queries = rng.standard_normal((500, dim), np.float32), rng.standard_normal((500, dim), np.float32)
    wrong = []
    for bits, bar in BARS.items():
        error = rounding(TurboQuant(dim, bits), x, queries)
        # Standard error of a standard deviation over 250,000 pairs of 500 queries: about 0.5 %, far inside the bar.
        if not (error.std() <= bar and np.abs(error).max() <= WORST * bar):
            wrong.append(f"bits {bits}: std {error.std():.2e}, largest {np.abs(error).max():.2e}, bar {bar:.0e}")
    assert not wrong, wrong


def test_scores_of_real_embeddings_round_within_the_bars() -> None:
    sample = load_glosses_sample()
    for bits, bar in BARS.items():
        error = rounding(TurboQuant(384, bits), sample.base[:1000], sample.queries)
        assert error.std() <= bar, bits
        assert np.abs(error).max() <= WORST * bar, bits


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_awkward_queries_round_within_the_bars(kind: str) -> None:
    for dim in (128, 1000):
        x, _ = pairs_of("random", dim, 0.0)
        queries, _ = pairs_of(kind, dim, 0.0)
        for bits in (1, 4, 8):
            for seed in range(8):
                error = rounding(TurboQuant(dim, bits, seed=seed), x, queries)
                # 24 · 24 pairs that share queries: a standard error of at most 10 % of the deviation.
                assert error.std() <= 1.3 * BARS[bits], (dim, bits, seed)


@pytest.mark.parametrize(("bits", "keep"), [(4, 2), (4, 1), (8, 4), (8, 1), (7, 4)])
def test_scores_of_truncated_codes_round_within_the_bars(bits: int, keep: int) -> None:
    rng = np.random.default_rng(bits)
    x, queries = rng.standard_normal((400, 128), np.float32), rng.standard_normal((400, 128), np.float32)
    error = rounding(TurboQuant(128, bits), x, queries, keep)
    assert error.std() <= BARS[keep]


@pytest.mark.parametrize("dim", [128, 768])
def test_scores_of_near_pairs_round_within_the_bars(dim: int) -> None:
    """For pairs that point the same way a wrong factor shows, which pairs at random average away.

    Integer levels stand for levels up to α·l − c; were these errors to lean one way with |c|, every score of a near
    pair would be off by one factor, and scores that are unbiased in theory would be biased.
    """
    x, queries = pairs_of("random", dim, 0.95)
    wrong = []
    for bits, bar in BARS.items():
        errors = [rounding(TurboQuant(dim, bits, seed=s), x, queries).diagonal() for s in range(40)]
        rms = float(np.sqrt(np.mean(np.square(errors))))
        if rms > bar:
            wrong.append(f"bits {bits}: rms {rms:.2e}, mean {np.mean(errors):+.2e}, bar {bar:.0e}")
    assert not wrong, wrong

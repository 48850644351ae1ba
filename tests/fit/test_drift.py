"""Drift: what it is of vectors like the sample's and of others, how seldom it is a false alarm, and what it sees."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from turboquant_rs import TurboQuant
from turboquant_rs.evaluation import datasets, generators
from turboquant_rs.fit.drift import AS_FITTED

Rows = NDArray[np.float32]

#: Rows of the package's glosses that a fit sees.
FITTED_ON = 2_000


@cache
def glosses() -> Rows:
    return datasets.load_glosses_sample().base


@cache
def gloss_codec(bits: float) -> TurboQuant:
    return TurboQuant.fit(glosses()[:FITTED_ON], bits)


@cache
def halves() -> tuple[Rows, Rows]:
    """The glosses by topic: on either side of their first principal axis."""
    x = glosses()
    mean = x.mean(axis=0)
    axis = np.linalg.eigh((x - mean).T @ (x - mean))[1][:, -1]
    side = (x - mean) @ axis > 0
    return x[side], x[~side]


def test_a_plain_codec_is_never_the_worse_one() -> None:
    found = TurboQuant(384, 2).drift(glosses()[:500])
    assert (found.worse, found.reading) == (0.0, "as fitted")
    assert found.ratio == pytest.approx(1.0)


def test_it_is_one_for_like_vectors_and_grows() -> None:
    codec = gloss_codec(2.0)
    seen, unseen = codec.drift(glosses()[:FITTED_ON]), codec.drift(glosses()[FITTED_ON:])
    assert seen.reading == unseen.reading == "as fitted"
    assert seen.ratio < unseen.ratio
    assert unseen.worse < 0.05
    assert unseen.ratio == pytest.approx(unseen.expected / unseen.promised)
    # What codes lose beyond a Gaussian's share is a few percent on text.
    assert 0.95 * unseen.expected < unseen.measured < 1.1 * unseen.expected
    other = codec.drift(generators.isotropic(500, 384).base)
    assert other.reading == "refit"
    assert other.worse > 0.9
    # Vectors of one variance in every direction lose what the axes without bits do not keep, at least.
    assert other.expected > 1 - codec.report().axes / 384
    assert str(other).startswith("refit: expected distortion ")
    some = codec.drift(np.concatenate([glosses()[FITTED_ON:], generators.isotropic(500, 384).base]))
    assert some.reading == "drifted"
    assert some.rows == 3_500


@pytest.mark.parametrize("bits", [1, 4])
def test_any_vector_is_as_promised_to_a_plain_codec(bits: int) -> None:
    found = TurboQuant(128, bits).drift(generators.isotropic(1000, 128).base)
    assert found.ratio == pytest.approx(1.0, abs=1e-12)
    assert found.error < 1e-12
    # The mean of 1,000 rows' shares: each deviates by less than a tenth of it, so three errors are 1 %. The best length
    # saves what lies along the row, at 4 bits and 128 dimensions some percent.
    assert 0.95 < found.measured / found.promised < 1.01


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_topics_that_the_fit_has_not_seen_are_seen(bits: int) -> None:
    one, other = halves()
    codec = TurboQuant.fit(one[:1_500], bits)
    assert codec.report().fitted
    assert codec.drift(one[1_500:]).reading == "as fitted"
    assert codec.drift(other[:300]).reading != "as fitted"


def test_heavy_tails_are_no_drift() -> None:
    """Codes are made for Gaussian coordinates and lose more than promised of others, of the sample's rows too."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6_000, 64)) * np.arange(1, 65) ** -0.5
    # Some rows lie along the first axes, some do not.
    x[:, :8] *= np.exp(0.7 * rng.standard_normal((6_000, 1)))
    codec = TurboQuant.fit(x[:3_000], 4, refine=False)
    found = codec.drift(x[3_000:])
    assert found.measured > AS_FITTED * found.promised
    assert found.reading == "as fitted"


@pytest.mark.parametrize("rows", [30, 300])
def test_alarms_are_as_rare_as_stated_at_the_limit(rows: int) -> None:
    """Samples of a distribution whose ratio is the largest that counts as fitted: 1 in 370 may read otherwise."""
    codec, rng = gloss_codec(2.0), np.random.default_rng(rows)
    like = glosses()[FITTED_ON:]
    unlike = like[:500] + 0.5 * generators.isotropic(500, 384).base
    # So much of the unlike ones that the mixture has the ratio of the limit, less 1e-3 for the rows that are drawn.
    low, high = codec.drift(like).ratio, codec.drift(unlike).ratio
    share = (AS_FITTED - 1e-3 - low) / (high - low)
    assert 0 < share < 1
    alarms, above = 0, 0
    for _ in range(400):
        mixed = rng.random(rows) < share
        drawn = np.where(mixed[:, None], unlike[rng.integers(0, 500, rows)], like[rng.integers(0, len(like), rows)])
        found = codec.drift(drawn)
        alarms += found.reading != "as fitted"
        above += found.ratio > AS_FITTED
    # Half of the samples are above it, by chance alone. Of 400, one alarm is expected; more than five have probability
    # 0.0006.
    assert above > 100
    assert alarms <= 5


def test_it_refuses_what_it_cannot_measure() -> None:
    codec = gloss_codec(2.0)
    with pytest.raises(ValueError, match=r"x must have 384 columns \(the codec's dim\), got 3"):
        codec.drift(np.ones((2, 3)))
    for rows in (0, 3):
        with pytest.raises(ValueError, match="x must have rows that differ from the codec's center, got none"):
            TurboQuant(8, 2).drift(np.zeros((rows, 8)))


def test_few_vectors_raise_no_alarm() -> None:
    """One vector has no spread to tell chance from."""
    other = glosses()[:30] + 0.5 * generators.isotropic(30, 384).base
    assert gloss_codec(2.0).drift(other[:29]).reading == gloss_codec(2.0).drift(other[:1]).reading == "as fitted"
    assert gloss_codec(2.0).drift(other).reading == "drifted"


def test_loaded_codecs_know_their_promise(tmp_path: Path) -> None:
    codec = gloss_codec(1.0)
    codec.save(tmp_path / "codec.tqc")
    loaded = TurboQuant.load(tmp_path / "codec.tqc")
    rows = glosses()[-300:]
    assert loaded.drift(rows) == codec.drift(rows)
    assert np.array_equal(loaded.encode(rows).packed, codec.encode(rows).packed)

"""What a fit is worth, on the glosses in the package and on sets that it was not made for; its report and its drift."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from turboquant_rs import Index, TurboQuant
from turboquant_rs.evaluation import datasets, generators, metrics, neighbors
from turboquant_rs.fit import FitWarning
from turboquant_rs.fit.distortion import distortion
from turboquant_rs.fit.held_out import HeldOut, Measured

#: Rows of the package's glosses that a fit sees; the others are the base.
FITTED_ON = 2_000
#: 10@10 on 3,000 rows with 200 queries of fits on the other 2,000, less 0.02: three standard errors of a mean over 200
#: queries whose recall deviates by 0.1 (√(0.1²/200) = 0.007). Measured: 0.641, 0.779, 0.892, 0.970.
LEAST_RECALL = {0.5: 0.62, 1.0: 0.76, 2.0: 0.87, 4.0: 0.95}
#: What a prefix may lose against a codec fitted at its bits (the bar, 0.01, on 100,000 rows and 2,000 queries), plus
#: two standard errors of a difference over 200 queries (0.005 each).
PREFIX_LOSS = 0.02
#: What an index may lose against plain, the mean of three seeds, where nothing was there to fit to: 0.005, and two
#: standard errors again.
LOSS = 0.005 + 0.01


def recall(codec: TurboQuant, base: np.ndarray, truth: neighbors.Truth, metric: str = "ip") -> float:  # type: ignore[type-arg]
    """10@10 of an index."""
    index = Index(codec=codec, metric=metric)  # type: ignore[arg-type]
    index.add(base)
    return metrics.overlap_at_k(truth, index.search(truth.queries, 10)[1])


@cache
def glosses() -> tuple[datasets.Glosses, neighbors.Truth]:
    """The package's glosses, and the neighbours of the queries among the rows that no fit sees."""
    sample = datasets.load_glosses_sample()
    return sample, neighbors.true_neighbors(sample.base[FITTED_ON:], sample.queries, 10)


@cache
def gloss_codec(bits: float) -> TurboQuant:
    """A codec fitted to the first glosses."""
    return TurboQuant.fit(glosses()[0].base[:FITTED_ON], bits)


@pytest.mark.parametrize("bits", LEAST_RECALL)
def test_recall_on_glosses(bits: float) -> None:
    sample, truth = glosses()
    codec = gloss_codec(bits)
    found = recall(codec, sample.base[FITTED_ON:], truth)
    assert found >= LEAST_RECALL[bits]
    assert codec.bytes_per_vector() == 384 * bits / 8 + 4
    if bits >= 1:
        assert found > recall(TurboQuant(384, int(bits)), sample.base[FITTED_ON:], truth) + 0.01


@pytest.mark.parametrize("bits", [1, 2])
def test_prefixes_are_as_good_as_fits_of_their_size(bits: int) -> None:
    sample, truth = glosses()
    base = sample.base[FITTED_ON:]
    codec = gloss_codec(4.0)
    codes = codec.encode(base).truncate(bits)
    assert codes.packed.shape[1] <= 48 * bits
    scores = codec.score(truth.queries, codes)
    found = metrics.overlap_at_k(truth, np.argsort(-scores, axis=1, kind="stable")[:, :10])
    assert found >= recall(gloss_codec(float(bits)), base, truth) - PREFIX_LOSS


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_prefixes_of_few_bytes_fill_them(bits: int) -> None:
    """At 64 dimensions a bit a coordinate is 8 bytes: a prefix that ends a byte early loses twice the bar."""
    codec, base, truth = few_dimensions(4)
    codes = codec.encode(base).truncate(bits)
    assert codes.packed.shape[1] == 8 * bits
    found = metrics.overlap_at_k(truth, np.argsort(-codec.score(truth.queries, codes), axis=1, kind="stable")[:, :10])
    assert found >= recall(few_dimensions(bits)[0], base, truth) - PREFIX_LOSS / 2


@cache
def few_dimensions(bits: int) -> tuple[TurboQuant, np.ndarray, neighbors.Truth]:  # type: ignore[type-arg]
    """A codec of 64 dimensions of steeply falling variance, other rows, and their neighbours."""
    x = np.random.default_rng(0).standard_normal((8_300, 64)) * np.arange(1, 65) ** -1.0
    base, sample, queries = x[:4_000].astype(np.float32), x[4_000:8_000], x[8_000:].astype(np.float32)
    return TurboQuant.fit(sample, bits, refine=False), base, neighbors.true_neighbors(base, queries, 10)


def test_report_tells_what_was_measured() -> None:
    codec = gloss_codec(2.0)
    report = codec.report()
    assert report.fitted
    assert (report.rows, report.held_out, report.queries) == (2_000, 500, 125)
    assert report.recall > report.recall_plain + 2 * report.recall_error
    assert report.distortion < report.distortion_plain == pytest.approx(distortion(2), rel=0.01)
    assert report.bytes_per_vector == codec.bytes_per_vector() == 100
    assert report.codec_bytes == codec.nbytes
    assert 0 < report.axes <= report.dim == 384
    assert 0 < report.shrinkage < 0.25
    assert report.seconds > 0
    assert report.scale == codec.scale
    text = str(report)
    assert "2 bits, 100 bytes a vector: fitted" in text
    assert f"{report.recall:.3f} fitted, {report.recall_plain:.3f} plain" in text
    assert report.as_dict()["recall"] == report.recall


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_fits_of_one_sample_in_any_form_are_one(dtype: str) -> None:
    # The glosses are stored as float16, so every form holds the same numbers.
    rows = glosses()[0].base[:1_200]
    assert TurboQuant.fit(rows.astype(dtype), 2).to_bytes() == TurboQuant.fit(rows, 2).to_bytes()


def test_a_mapped_sample_is_the_same_sample(tmp_path: Path) -> None:
    rows = glosses()[0].base[:1_200]
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert TurboQuant.fit(mapped, 1.5).to_bytes() == TurboQuant.fit(rows, 1.5).to_bytes()


@pytest.mark.parametrize("name", generators.GENERATORS)
def test_no_set_is_worse_for_a_fit(name: str) -> None:
    vectors = generators.GENERATORS[name](5_000, 96, 200)
    base, sample = vectors.base[:3_000], vectors.base[3_000:]
    truth = neighbors.true_neighbors(base, vectors.queries, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        index = Index.fit(sample, 2)
    assert len(index) == 0
    assert index.codec.drift(base).reading == "as fitted"
    found = recall(index.codec, base, truth)
    plain = float(np.mean([recall(TurboQuant(96, 2, seed=seed), base, truth) for seed in range(3)]))
    assert found >= plain - LOSS
    if name in ("low_rank", "shared_direction", "tight_clusters", "mean_dominated"):
        assert found > plain + 0.05


@pytest.mark.parametrize("bits", [1, 2])
def test_a_fit_on_one_cluster_serves_all(bits: int) -> None:
    base, queries = generators.clusters(16_000, 96, 200, n_clusters=10, spread=0.5)
    first = base[np.argsort(-(base @ base[0]), kind="stable")[:1_500]]
    rest = base[:3_000]
    truth = neighbors.true_neighbors(rest, queries, 10)
    codec = TurboQuant.fit(first, bits)
    assert codec.report().fitted
    assert recall(codec, rest, truth) >= recall(TurboQuant(96, bits), rest, truth) - 0.02
    assert codec.drift(rest).reading == "refit"


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_other_metrics_are_fitted_too(metric: str) -> None:
    rng = np.random.default_rng(0)
    rows = (generators.embedding_like(4_200, 96).base * np.exp(0.3 * rng.standard_normal((4_200, 1)))).astype(
        np.float32
    )
    base, sample, queries = rows[:2_000], rows[2_000:4_000], rows[4_000:]
    truth = neighbors.true_neighbors(base, queries, 10, metric)
    codec = TurboQuant.fit(sample, 2, metric=metric)  # type: ignore[arg-type]
    assert codec.report().fitted
    assert recall(codec, base, truth, metric) > recall(TurboQuant(96, 2), base, truth, metric)


def test_queries_of_another_distribution() -> None:
    """Rows and queries vary along axes that have nothing to do with each other."""
    rng = np.random.default_rng(1)
    dim = 96
    spread = np.arange(1, dim + 1) ** -0.5
    axes, others = (np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(2))
    rows = (rng.standard_normal((6_000, dim)) * spread @ axes).astype(np.float32)
    asked = (rng.standard_normal((2_200, dim)) * spread @ others).astype(np.float32)
    base, sample, queries, known = rows[:3_000], rows[3_000:], asked[:200], asked[200:]
    truth = neighbors.true_neighbors(base, queries, 10)
    blind, aware = TurboQuant.fit(sample, 2), TurboQuant.fit(sample, 2, queries=known)
    assert aware.report().weighting == "queries"
    assert recall(aware, base, truth) > recall(blind, base, truth) + 0.05
    assert aware.bytes_per_vector() == blind.bytes_per_vector()
    assert aware.drift(base).reading == "as fitted"
    assert aware.drift(queries).reading != "as fitted"


def test_scale_and_center_can_be_fixed() -> None:
    rows = glosses()[0].base[:1_200]
    codec = TurboQuant.fit(rows, 2, scale="mse", center=True)
    assert codec.scale == codec.report().scale == "mse"
    assert codec.report().center
    assert codec.report().weighting == "vectors"
    assert not TurboQuant.fit(rows, 2, center=False).report().center


def test_refinement_is_chosen_where_it_finds_more() -> None:
    """Few coordinates gain much from trial scales, many gain little; a choice by the caller stays."""
    x = np.random.default_rng(0).standard_normal((6_000, 32)) * np.arange(1, 33) ** -0.5
    chosen, without = TurboQuant.fit(x, 2), TurboQuant.fit(x, 2, refine=False)
    assert chosen.refine == chosen.report().refine == 16
    assert without.refine is False
    assert chosen.report().recall >= without.report().recall + 0.01
    assert TurboQuant.fit(x, 2, refine=8).refine == 8
    assert gloss_codec(2.0).refine is False


@pytest.mark.parametrize(("gain", "refine"), [(0.004, False), (0.006, 16), (-0.1, False)])
def test_refinement_must_gain_enough(monkeypatch: pytest.MonkeyPatch, gain: float, refine: int | bool) -> None:
    """Encoding is slower with it, so recall must gain half a percent, here for every query alike."""

    def measure(self: HeldOut, codec: TurboQuant, threads: int | None = None) -> Measured:
        found = 0.5 if not codec.fitted else 0.7 + (gain if codec.refine else 0.0)
        return Measured(np.full(100, found))

    monkeypatch.setattr(HeldOut, "measure", measure)
    x = np.random.default_rng(0).standard_normal((600, 16)) * np.arange(1, 17) ** -0.5
    assert TurboQuant.fit(x, 2).refine == refine

"""The kernels of the papers' codecs equal the reference to the bit: on the emulation, on a card where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gpu import paper_parity
from gpu.paper_parity import (
    Subject,
    differences,
    polar_subject,
    prod_subject,
    qjl_subject,
    queries_of,
    run_decode,
    run_encode,
    run_score,
)
from gpu.shim import ShimBackend, missing
from gpu.test_parity import backend_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, matrices, mixed_rows, same, seeds
from turboquant_rs.gpu import dense, plan, polar, prod, score, sketch
from turboquant_rs.gpu.faults import Fault
from turboquant_rs.reference.paper_codes import PaperCodes

PROJECTIONS = ("gaussian", "orthogonal", "hadamard")
#: Dimensions and signs: every remainder of a byte and of a warp, runs of several rotations, and of part of one.
SKETCHES = (
    *((1, 1), (1, 9), (2, 3), (3, 3), (5, 40), (8, 8), (17, 31), (31, 33), (32, 32), (33, 1056), (64, 100), (97, 97)),
    *((100, 7), (128, 256), (200, 130), (600, 64), (64, 2100)),
)
#: A codec of every kind, of 40 dimensions.
EACH = {
    **{f"qjl {name}": lambda name=name: qjl_subject(40, 90, name, 5) for name in PROJECTIONS},
    "prod gaussian": lambda: prod_subject(40, 4, "gaussian", 5),
    "prod hadamard": lambda: prod_subject(40, 6, "hadamard", 5),
    "polar": lambda: polar_subject(40, (4, 3, 2), "float32", 5),
}
each = pytest.mark.parametrize("name", EACH)
#: Dims and bits of PolarQuant: one level to eight, widths that straddle bytes, dims of a warp and of a block.
POLAR = (
    *((2, (1,)), (2, (8,)), (4, (2, 1)), (4, (3, 8)), (6, (3,)), (8, (4, 2, 2)), (16, (4, 2, 2, 2))),
    *((48, (5, 3, 2, 1)), (64, (4, 3, 3, 3, 3, 3)), (100, (4, 2)), (128, (4, 2, 2, 2)), (200, (2, 7, 1))),
    *((256, (1, 2, 3, 4, 5, 6, 7, 8)), (768, (4, 3, 2, 2)), (2560, (4, 2, 2, 2))),
)
#: Rows that float16 can hold.
MODEST = ("normal", "zero", "negative zero", "subnormal", "tiny", "one-hot", "2-sparse", "sparse", "constant", "whole")
TOP = float(np.finfo(np.float32).max)


def checked(device: str, number: int, subject: Subject, **options: Any) -> list[str]:
    """Return what differs for a codec on rows of every kind; the number decides the order of threads and the mode."""
    backend = backend_of(device, number % 5, flush=bool(number % 2), **options)
    return differences(backend, subject, mixed_rows(subject.dim, number), queries_of(subject.dim, number))


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_sketches_of_every_shape(device: str, projection: str) -> None:
    wrong = []
    for i, (dim, size) in enumerate(SKETCHES):
        found = checked(device, i, qjl_subject(dim, size, projection, dim))
        wrong += [f"dim {dim}, size {size}: {text}" for text in found]
    assert not wrong, f"{len(wrong)} differ, the first: {wrong[:10]}"


@given(data=st.data(), seed=seeds(), projection=st.sampled_from(PROJECTIONS), order=st.integers(0, 50))
def test_any_sketch_and_matrix(device: str, data: st.DataObject, seed: int, projection: str, order: int) -> None:
    dim, size = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 150))
    backend = backend_of(device, order, flush=data.draw(st.booleans()), capability=data.draw(st.sampled_from((75, 80))))
    subject = qjl_subject(dim, size, projection, seed)
    assert differences(backend, subject, data.draw(matrices(dim)), queries_of(dim, order)) == []


def test_rows_in_a_blocks_memory(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels of large dims, at dims that are quick; with little shared memory, rows go to scratch."""
    monkeypatch.setattr(plan, "WARP_DIMS", 0)
    wrong = []
    for i, (dim, size) in enumerate(((1, 3), (2, 2), (7, 20), (33, 40), (64, 200), (100, 100), (300, 64), (4700, 40))):
        found = checked(device, i, qjl_subject(dim, size, "hadamard", dim), shared_limit=40 << 10)
        found += checked(device, i, prod_subject(dim, 3, "hadamard", dim), shared_limit=40 << 10)
        wrong += [f"dim {dim}, size {size}: {text}" for text in found]
    assert not wrong, wrong[:10]


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_prod_of_every_width(device: str, projection: str) -> None:
    wrong = []
    for i, dim in enumerate((1, 2, 3, 8, 31, 33, 64, 97, 128, 300)):
        for bits in range(2, 9) if dim < 200 else (4, 8):
            found = checked(device, i, prod_subject(dim, bits, projection, dim))
            wrong += [f"dim {dim}, bits {bits}: {text}" for text in found]
    assert not wrong, f"{len(wrong)} differ, the first: {wrong[:10]}"


@given(data=st.data(), seed=seeds(), projection=st.sampled_from(PROJECTIONS), order=st.integers(0, 50))
def test_any_prod_and_matrix(device: str, data: st.DataObject, seed: int, projection: str, order: int) -> None:
    dim, bits = data.draw(st.integers(1, 80)), data.draw(st.integers(2, 8))
    backend = backend_of(device, order, flush=data.draw(st.booleans()), capability=data.draw(st.sampled_from((75, 80))))
    subject = prod_subject(dim, bits, projection, seed)
    assert differences(backend, subject, data.draw(matrices(dim)), queries_of(dim, order)) == []


def test_decoded_rows_of_subnormal_numbers(device: str) -> None:
    """What is rotated back may be subnormal, and counts: scales down to the smallest, of which rows are all below."""
    for dim in (5, 64, 100, 2100):
        subject = prod_subject(dim, 3, "hadamard")
        codes = subject.plain.encode(mixed_rows(dim, 1))
        codes.scales[:] = 2.0 ** np.linspace(-126, -118, codes.scales.size, dtype=np.float32).reshape(-1, 2)
        want = subject.plain.decode(codes)
        assert ((want != 0) & (np.abs(want) < 2.0**-126)).any(), "the case occurs"
        for flush in (False, True):
            assert same(run_decode(backend_of(device, 1, flush=flush), subject, codes), want)


def test_shares_beyond_float32(device: str) -> None:
    """Where the levels' share is infinite it decides, whatever the sketch says."""
    subject = prod_subject(64, 3, "gaussian")
    x = mixed_rows(64, 1, ("normal", "constant", "wide", "normal", "one-hot", "sparse"))
    codes = subject.plain.encode(x)
    codes.scales[:] = np.float32(3e38)
    queries = (x * np.float32(2.0**70)).astype(np.float32)
    want = subject.plain.score(queries, codes)
    assert np.isinf(want).any()
    for part in (slice(3), slice(None)):
        assert same(run_score(backend_of(device), subject, queries[part], codes), want[part])


@pytest.mark.parametrize("radius", ["float16", "float32"])
def test_polar_of_every_shape(device: str, radius: str) -> None:
    wrong = []
    for i, (dim, bits) in enumerate(POLAR):
        subject = polar_subject(dim, bits, radius, dim)
        x = mixed_rows(dim, i, KINDS if radius == "float32" else MODEST)
        found = differences(backend_of(device, i % 5, flush=bool(i % 2)), subject, x, queries_of(dim, i))
        wrong += [f"dim {dim}, bits {bits}: {text}" for text in found]
    assert not wrong, f"{len(wrong)} differ, the first: {wrong[:10]}"


@given(data=st.data(), seed=seeds(), order=st.integers(0, 50))
def test_any_polar_and_matrix(device: str, data: st.DataObject, seed: int, order: int) -> None:
    bits = tuple(data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=5)))
    dim = data.draw(st.integers(1, 160 >> len(bits))) << len(bits)
    backend = backend_of(device, order, flush=data.draw(st.booleans()))
    subject = polar_subject(dim, bits, "float32", seed)
    assert differences(backend, subject, data.draw(matrices(dim)), queries_of(dim, order)) == []


def test_coordinates_below_the_cut(device: str) -> None:
    """Where large ones cancel, what 2^-39 leaves may be all of a coordinate: below 2^-40 it is 0."""
    for dim, bits, seed in ((8, (4, 2), 0), (6, (3,), 4)):
        subject = polar_subject(dim, bits, "float32", seed)
        rng = np.random.default_rng(0)
        x = rng.choice([0, 1, -1, 2.0**-39, 2.0**-40, 0.5], (2000, dim)).astype(np.float32)
        x[:, 0] = 1
        rotated = np.abs(subject.plain.rotation.apply(x))
        x = x[((rotated > 0) & (rotated < 2.0**-40)).any(axis=1)]
        assert len(x)
        assert differences(backend_of(device), subject, x, x[:8]) == []


def test_every_half_is_read_and_written(device: str) -> None:
    """One radius and one angle a row: its square root is exact where one coordinate is 0."""
    subject, backend = polar_subject(2, (1,), "float16"), backend_of(device, flush=True)
    halves = np.arange(0x7C00, dtype=np.uint16)
    packed = np.zeros((len(halves), 3), np.uint8)
    packed[:, :2] = halves.view(np.uint8).reshape(-1, 2)
    codes = PaperCodes(packed, np.empty((len(halves), 0), np.float32), subject.plain.spec)
    assert same(run_decode(backend, subject, codes), subject.plain.decode(codes))
    values = halves.view(np.float16).astype(np.float32)
    middles = np.append((values[:-1] + values[1:]) / 2, np.nextafter(np.float32(65_520), np.float32(0)))
    near = [np.nextafter(middles, np.float32(towards)) for towards in (0, 1e6)]
    for lengths in (values, middles, *near):
        lengths = lengths[lengths < 65_520].astype(np.float32)
        x = subject.plain.rotation.apply_inverse(np.stack([lengths, np.zeros_like(lengths)], axis=1))
        want = subject.plain.encode(x[np.abs(x).max(axis=1) < 65_000])
        assert same(run_encode(backend, subject, x[np.abs(x).max(axis=1) < 65_000]).packed, want.packed)


def test_radii_that_exceed_their_format(device: str) -> None:
    x = mixed_rows(32, 1, MODEST)
    for radius, value in (("float16", 1e5), ("float32", TOP)):
        subject = polar_subject(32, (4, 2), radius)
        for row in (7, 4):
            x[row] = value
            assert run_encode(backend_of(device, row), subject, x).fault == Fault("norm", row, 0)


@pytest.mark.parametrize("level_bits", [(8,) * 12, (1,) * 12])
def test_small_sines_and_radii_of_any_size(device: str, level_bits: tuple[int, ...]) -> None:
    """Codes that no encoder writes: the smallest sines of twelve levels, and radii 2^40 apart and subnormal."""
    dim = 2 << 12
    subject = polar_subject(dim, level_bits)
    codes = subject.plain.encode(np.ones((6, dim), np.float32))
    rng = np.random.default_rng(0)
    codes.packed[:, 8:] = rng.choice(np.array([0, 255], np.uint8), codes.packed[:, 8:].shape)
    codes.packed[0, 8:] = 0
    radii = np.array([[1, 2.0**-39], [2.0**-126, 2.0**-149], [3e38, 1], [0, 2.0**-140], [2.0**-100, 2.0**-139], [0, 0]])
    codes.packed[:, :8] = radii.astype("<f4").view(np.uint8)
    queries = queries_of(dim, 1)
    for flush in (False, True):
        backend = backend_of(device, 1, flush=flush)
        assert same(run_decode(backend, subject, codes), subject.plain.decode(codes))
        assert same(run_score(backend, subject, queries, codes), subject.plain.score(queries, codes))


@pytest.mark.parametrize(
    ("dim", "size", "projection"),
    [(3000, 3100, "hadamard"), (2048, 4096, "hadamard"), (2500, 40, "gaussian"), (20, 16_384, "gaussian")],
)
def test_large_sketches(device: str, dim: int, size: int, projection: str) -> None:
    subject = qjl_subject(dim, size, projection)
    x = mixed_rows(dim, 1, ("normal", "sparse", "wide", "zero"))
    assert differences(backend_of(device, 3, flush=True), subject, x, queries_of(dim, 2)) == []


@pytest.mark.parametrize(
    ("dim", "bits", "projection"), [(1100, 4, "gaussian"), (2048, 3, "hadamard"), (2500, 6, "hadamard")]
)
def test_large_prods(device: str, dim: int, bits: int, projection: str) -> None:
    subject = prod_subject(dim, bits, projection)
    x = mixed_rows(dim, 1, ("normal", "sparse", "wide", "zero", "tiny"))
    assert differences(backend_of(device, 3, flush=True), subject, x, queries_of(dim, 2)) == []


@pytest.mark.slow
def test_the_largest_sketches(device: str) -> None:
    for dim, size, projection in ((65_536, 65_536, "hadamard"), (4096, 70, "gaussian"), (2, 16_384, "orthogonal")):
        subject = qjl_subject(dim, size, projection)
        x = mixed_rows(dim, 1, ("normal", "sparse"))
        assert differences(backend_of(device, 2, flush=True), subject, x, queries_of(dim, 2)) == [], (dim, size)


@each
def test_more_rows_than_blocks_and_than_are_in_hand(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block takes several rows, a call several parts of them, and queries come in batches."""
    small_buffers(monkeypatch, 10_000)
    monkeypatch.setattr(score, "MOST_QUERIES", 7)
    subject = EACH[name]()
    assert 1 < subject.driver.rows_at_a_time(subject.key, 10**6) < 70
    x = np.concatenate([mixed_rows(40, seed) for seed in range(12)])
    queries = np.concatenate([queries_of(40, seed) for seed in range(15)])
    assert differences(backend_of(device, 4, processors=1), subject, x, queries) == []


def small_buffers(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let rows in hand take so many bytes."""
    for module in (sketch, prod, polar):
        monkeypatch.setattr(module, "BUFFER", size)


@each
def test_no_rows_and_no_queries(device: str, name: str) -> None:
    subject, none, backend = EACH[name](), np.empty((0, 40), np.float32), backend_of(device)
    assert differences(backend, subject, none, queries_of(40, 1)) == []
    assert differences(backend, subject, mixed_rows(40, 1), none) == []


@pytest.mark.parametrize("shift", [1, 2, 4])
@pytest.mark.parametrize(
    "make",
    [
        lambda: qjl_subject(64, 128, "gaussian"),
        lambda: prod_subject(64, 4, "gaussian"),
        lambda: polar_subject(64, (4, 2)),
    ],
)
def test_packed_rows_at_any_address(device: str, make: Any, shift: int) -> None:
    subject, backend = make(), backend_of(device)
    x = mixed_rows(64, 2)
    want = subject.plain.encode(x)
    room = backend.empty((want.packed.size + shift,), np.uint8)
    packed, scales = room[shift:].reshape(want.packed.shape), backend.empty(want.scales.shape, np.float32)
    assert subject.driver.encode(backend, subject.key, backend.asarray(x), packed, scales) is None
    assert same(backend.to_host(packed), want.packed)
    out = backend.empty((5, len(x)), np.float32)
    queries = queries_of(64, 1)[:5]
    assert subject.driver.score(backend, subject.key, backend.asarray(queries), packed, scales, out) is None
    assert same(backend.to_host(out), subject.plain.score(queries, want))


@pytest.mark.parametrize(
    ("dim", "size", "projection"), [(97, 130, "gaussian"), (128, 128, "hadamard"), (3072, 64, "hadamard")]
)
def test_kernels_compiled_for_their_parameters(dim: int, size: int, projection: str) -> None:
    if missing():
        pytest.skip(str(missing()))
    backend = ShimBackend(2, flush=True, specialised=True)
    subject = qjl_subject(dim, size, projection)
    assert differences(backend, subject, mixed_rows(dim, 1), queries_of(dim, 1)) == []
    if dim < 1000:
        subject = prod_subject(dim, 4, projection)
        assert differences(backend, subject, mixed_rows(dim, 1), queries_of(dim, 1)) == []
    if dim % 16 == 0:
        subject = polar_subject(dim, (4, 2, 2, 2))
        assert differences(backend, subject, mixed_rows(dim, 1), queries_of(dim, 1)) == []


@each
def test_the_first_row_that_must_be_refused(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted over the parts of a call; of a row's faults the values count first."""
    small_buffers(monkeypatch, 10_000)
    subject = EACH[name]()
    x = np.random.default_rng(0).standard_normal((120, 40)).astype(np.float32)
    cases = [((77, 3), np.nan, "nonfinite"), ((70, 39), -np.inf, "nonfinite"), ((61, slice(None)), TOP, "norm")]
    for (row, column), value, kind in cases:
        x[row, column] = value
        got = run_encode(backend_of(device, row), subject, x)
        assert got.fault == Fault(kind, row, column if isinstance(column, int) else 0)  # type: ignore[arg-type]
        assert same(got.packed[:row], subject.plain.encode(x[:row]).packed), "rows before it are whole"
    x[61, 7] = np.nan
    assert run_encode(backend_of(device), subject, x).fault == Fault("nonfinite", 61, 7)


@each
def test_queries_that_must_be_refused(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_buffers(monkeypatch, 4_000)
    subject, backend = EACH[name](), backend_of(device)
    codes = subject.plain.encode(mixed_rows(40, 1))
    packed, scales = backend.asarray(codes.packed), backend.asarray(codes.scales)

    def fault_of(queries: Any) -> Fault | None:
        out = backend.empty((len(queries), len(codes)), np.float32)
        return subject.driver.score(backend, subject.key, backend.asarray(queries), packed, scales, out)

    queries = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    queries[26] = 0
    queries[26, 2] = np.nextafter(np.float32(2.0**96), np.float32(0))
    assert fault_of(queries) is None
    queries[26, 2] = 2.0**96
    assert fault_of(queries) == Fault("norm", 26, 0)
    queries[23, 4] = np.nan
    assert fault_of(queries) == Fault("nonfinite", 23, 4)


def test_the_largest_products(device: str) -> None:
    """All signs alike, and queries whose integers all lie at the ends of their range."""
    subject = qjl_subject(64, 65_536, "hadamard")
    codes = subject.plain.encode(np.ones((2, 64), np.float32))
    codes.packed[0], codes.packed[1] = 0, 255
    queries = np.concatenate([np.eye(1, 64, dtype=np.float32), mixed_rows(64, 1, ("normal", "constant") * 2)])
    for part in (queries[:2], queries):
        assert same(run_score(backend_of(device), subject, part, codes), subject.plain.score(part, codes))


@each
def test_without_validation_nothing_waits(name: str) -> None:
    if missing():
        pytest.skip(str(missing()))
    waits: list[None] = []
    backend, subject = ShimBackend(), EACH[name]()
    backend.on_synchronise = lambda: waits.append(None)
    x, want = backend.asarray(mixed_rows(40, 1)), subject.plain.encode(mixed_rows(40, 1))
    packed, scales = backend.empty(want.packed.shape, np.uint8), backend.empty(want.scales.shape, np.float32)
    out = backend.empty((4, len(x)), np.float32)
    for validate, expected in ((False, 0), (True, 2)):
        waits.clear()
        subject.driver.encode(backend, subject.key, x, packed, scales, validate=validate)
        subject.driver.score(backend, subject.key, x[:4], packed, scales, out, validate=validate)
        assert len(waits) == expected


def test_the_buffers_are_bounded() -> None:
    """What is in hand at a time never exceeds the buffer, unless one row does."""
    for dim, size in ((1, 1), (768, 1536), (4096, 16_384), (65_536, 65_536)):
        matrix = sketch.Matrix(np.float32(1), lambda: np.zeros((1, 1), np.int16)) if dim <= 4096 else None
        key = sketch.SketchKey("gaussian" if matrix else "hadamard", dim, size, 0, matrix)
        rows = sketch.rows_at_a_time(key, 10**9)
        assert rows * key.bytes_a_row <= dense.BUFFER or rows == 1
        assert sketch.decoding_signs_bytes(key, 10**9) <= dense.BUFFER
        assert prod.encoding_bytes(prod.ProdKey(4, key), 10**9) <= dense.BUFFER
    angles = polar.PolarKey(65_536, (4, 2, 2, 2), "float16")
    assert polar.encoding_bytes(angles, 10**9) <= dense.BUFFER
    assert polar.scoring_bytes(angles, 10**9, 10**9) <= 2 * dense.BUFFER


def test_a_difference_would_be_seen(device: str) -> None:
    """Another seed is another codec."""
    subject = qjl_subject(24, 30, "gaussian")
    other = subject._replace(plain=qjl_subject(24, 30, "gaussian", 1).plain)
    found = differences(backend_of(device), other, mixed_rows(24, 1), queries_of(24, 1))
    assert {"packed", "decoded"} <= set(found)
    assert paper_parity.QUERIES

"""The drivers of the papers' codecs beside the NumPy reference, on whatever backend."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from gpu.parity import Floats
from numpy.typing import NDArray
from strategies import mixed_rows, same
from turboquant_rs.gpu import polar, prod, qjl
from turboquant_rs.gpu.backend import Backend
from turboquant_rs.gpu.faults import Fault
from turboquant_rs.gpu.polar import PolarKey
from turboquant_rs.gpu.prod import ProdKey
from turboquant_rs.gpu.sketch import Matrix, SketchKey
from turboquant_rs.reference import QJL, PolarQuant, TurboQuantProd
from turboquant_rs.reference.paper_codes import PaperCodes, row_bytes
from turboquant_rs.reference.qjl import Sketch

#: Queries of every kind whose norms stay below 2^96.
QUERIES = ("normal", "zero", "tiny", "wide", "one-hot", "whole", "constant")


class Driver(Protocol):
    """A codec's module of ``turboquant_rs.gpu``."""

    def encode(
        self, backend: Backend, key: Any, x: Any, packed: Any, scales: Any, *, validate: bool = True
    ) -> Fault | None: ...

    def decode(self, backend: Backend, key: Any, packed: Any, scales: Any, out: Any) -> None: ...

    def score(
        self, backend: Backend, key: Any, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool = True
    ) -> Fault | None: ...

    def rows_at_a_time(self, key: Any, rows: int) -> int: ...


class Subject(NamedTuple):
    """A codec of the reference, and the drivers' name of it."""

    plain: Any
    driver: Driver
    key: Any

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return int(self.plain.spec.dim)


def sketch_key(sketch: Sketch, dim: int, kind: str, seed: int) -> SketchKey:
    """Return the drivers' name of a reference's sketch."""
    dense: Any = sketch.projection
    matrix = None if kind == "hadamard" else Matrix(dense.step, lambda: dense.values)
    return SketchKey(kind, dim, sketch.size, seed, matrix)


def qjl_subject(dim: int, size: int, kind: str, seed: int = 0) -> Subject:
    """Return a QJL."""
    plain = QJL(dim, size, projection=kind, seed=seed)
    return Subject(plain, qjl, sketch_key(plain.sketch, dim, kind, seed))


def prod_subject(dim: int, bits: int, kind: str, seed: int = 0) -> Subject:
    """Return a TurboQuantProd; of one bit it is a QJL's kernels."""
    plain = TurboQuantProd(dim, bits, projection=kind, seed=seed)
    key = sketch_key(plain.sketch, dim, kind, seed)
    return Subject(plain, prod, ProdKey(bits, key)) if bits > 1 else Subject(plain, qjl, key)


def polar_subject(dim: int, bits: tuple[int, ...], radius: str = "float32", seed: int = 0) -> Subject:
    """Return a PolarQuant."""
    plain = PolarQuant(dim, len(bits), bits, radius=radius, seed=seed)
    return Subject(plain, polar, PolarKey(dim, bits, radius, seed))


class Encoded(NamedTuple):
    """What was written, on the host, and what was refused."""

    packed: NDArray[np.uint8]
    scales: Floats
    fault: Fault | None


def run_encode(backend: Backend, subject: Subject, x: Floats) -> Encoded:
    """Encode host rows on the backend."""
    packed = backend.empty((len(x), row_bytes(subject.plain.spec)), np.uint8)
    scales = backend.empty((len(x), subject.plain.spec.norms), np.float32)
    fault = subject.driver.encode(backend, subject.key, backend.asarray(x), packed, scales)
    return Encoded(backend.to_host(packed), backend.to_host(scales), fault)


def run_decode(backend: Backend, subject: Subject, codes: PaperCodes) -> Floats:
    """Decode the reference's codes on the backend."""
    out = backend.empty((len(codes), subject.dim), np.float32)
    arrays = backend.asarray(codes.packed), backend.asarray(codes.scales)
    subject.driver.decode(backend, subject.key, *arrays, out)
    return backend.to_host(out)


def run_score(backend: Backend, subject: Subject, queries: Floats, codes: PaperCodes) -> Floats:
    """Score host queries against the reference's codes on the backend."""
    out = backend.empty((len(queries), len(codes)), np.float32)
    arrays = backend.asarray(queries), backend.asarray(codes.packed), backend.asarray(codes.scales)
    fault = subject.driver.score(backend, subject.key, *arrays, out)
    assert fault is None, fault
    return backend.to_host(out)


def queries_of(dim: int, seed: int) -> Floats:
    """Return queries of every kind; the first four are few, all of them many."""
    return mixed_rows(dim, seed + 1000, QUERIES)


def differences(backend: Backend, subject: Subject, x: Floats, queries: Floats) -> list[str]:
    """Return what of codes, scales, decoded rows and scores differs from the reference, of few and of many queries."""
    want = subject.plain.encode(x)
    got = run_encode(backend, subject, x)
    found = [] if got.fault is None else [f"fault {got.fault}"]
    found += [] if same(got.packed, want.packed) else ["packed"]
    found += [] if same(got.scales, want.scales) else ["scales"]
    found += [] if same(run_decode(backend, subject, want), subject.plain.decode(want)) else ["decoded"]
    for part in (queries[:4], queries):
        if not same(run_score(backend, subject, part, want), subject.plain.score(part, want)):
            found.append(f"scores of {len(part)} queries")
    return found

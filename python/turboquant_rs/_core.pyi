import os
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Codec",
    "CorruptError",
    "Filter",
    "FlatIndex",
    "PaperCodec",
    "PaperIndex",
    "allowed_rows",
    "available",
    "codes_from_bytes",
    "convert_rows",
    "copy_rows",
    "header_from_bytes",
    "header_len",
    "level",
    "paper_codes_from_bytes",
    "row_state",
    "set_level",
    "stored_ids",
]

_Dual: TypeAlias = tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]
_Fit: TypeAlias = tuple[
    NDArray[np.float32] | None, NDArray[np.int16], NDArray[np.float32], list[tuple[int, int]], bytes, _Dual | None
]
_PaperParameters: TypeAlias = tuple[str, int, str, list[int], int, int]

class CorruptError(ValueError): ...

@final
class Codec:
    def __new__(cls, dim: int, bits: int, seed: int, rotation: str, scale: str, refine: int) -> Codec: ...
    @staticmethod
    def from_parts(
        center: NDArray[np.float32] | None,
        transform: NDArray[np.int16],
        sigmas: NDArray[np.float32],
        segments: list[tuple[int, int]],
        order: bytes | list[int],
        dual: _Dual | None,
        seed: int,
        scale: str,
        refine: int,
    ) -> Codec: ...
    @staticmethod
    def split(
        dim: int,
        bits: tuple[int, int],
        outliers: NDArray[np.uint32],
        seed: int,
        rotation: str,
        scale: str,
        refine: int,
    ) -> Codec: ...
    def outliers(self) -> NDArray[np.int64] | None: ...
    def parts(self) -> _Fit | None: ...
    @property
    def fitted(self) -> bool: ...
    @property
    def dim(self) -> int: ...
    @property
    def choices(self) -> tuple[int, str, str, int]: ...
    @property
    def first_unit(self) -> int: ...
    def row_bits(self, keep: list[int]) -> int: ...
    def prefix(self, row_bits: int) -> list[int]: ...
    @property
    def fingerprint(self) -> int: ...
    def row_bytes(self, keep: list[int]) -> int: ...
    @property
    def norms(self) -> int: ...
    @property
    def full(self) -> list[int]: ...
    @property
    def nbytes(self) -> int: ...
    def plain(self) -> Codec | None: ...
    def encode(
        self,
        x: NDArray[np.float32],
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        squares: NDArray[np.float32] | None,
        badly: NDArray[np.bool_] | None,
        unit_norm: bool,
        first_row: int,
        threads: int | None,
    ) -> None: ...
    def decode(
        self,
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        keep: list[int],
        out: NDArray[np.float32],
        threads: int | None,
    ) -> None: ...
    def score(
        self,
        queries: NDArray[np.float32],
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        keep: list[int],
        out: NDArray[np.float32],
        first_row: int,
        threads: int | None,
    ) -> None: ...
    def truncate(
        self, packed: NDArray[np.uint8], scales: NDArray[np.float32], keep: list[int], bits: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...
    def truncate_each(
        self, packed: NDArray[np.uint8], scales: NDArray[np.float32], keep: list[int], bits: list[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...
    def header(self, keep: list[int], rows: int, packed_crc: int, scales_crc: int) -> bytes: ...
    def to_bytes(self, packed: NDArray[np.uint8], scales: NDArray[np.float32], keep: list[int]) -> bytes: ...

@final
class Filter:
    def and_(self, other: Filter) -> Filter: ...
    def or_(self, other: Filter) -> Filter: ...
    def complement(self) -> Filter: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...

@final
class FlatIndex:
    def __new__(cls, codec: Codec, metric: str, keep: str | None) -> FlatIndex: ...
    @staticmethod
    def open(path: str | os.PathLike[str], mmap: bool) -> FlatIndex: ...
    @staticmethod
    def from_bytes(data: bytes) -> FlatIndex: ...
    def to_bytes(self) -> bytes: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...
    def commit(self) -> None: ...
    def verify(self) -> None: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def metric(self) -> str: ...
    @property
    def mapped_nbytes(self) -> int: ...
    def add(
        self, x: NDArray[np.float32], ids: NDArray[np.int64] | list[str] | None, replace: bool
    ) -> NDArray[np.int64]: ...
    def add_codes(
        self,
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        squares: NDArray[np.float32],
        ids: NDArray[np.int64] | list[str] | None,
        replace: bool,
        split: tuple[NDArray[np.bool_], NDArray[np.uint8], NDArray[np.float32]] | None,
        originals: tuple[NDArray[np.uint8], NDArray[np.float32]] | None,
    ) -> NDArray[np.int64]: ...
    def extend(self, other: FlatIndex) -> None: ...
    def remove(self, ids: NDArray[np.int64] | list[str]) -> None: ...
    def compact(self) -> None: ...
    def contains(self, row_id: int) -> bool: ...
    def contains_name(self, name: str) -> bool: ...
    def names_of(self, ids: NDArray[np.int64]) -> list[str | None] | None: ...
    def names(self) -> list[str] | None: ...
    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        rescore: int,
        scores: NDArray[np.float32],
        ids: NDArray[np.int64],
        filter: Filter | None,  # noqa: A002
        exact: bool,
        threads: int | None,
    ) -> tuple[list[str | None] | None, tuple[int, int, int, int]]: ...
    def range_search(
        self,
        queries: NDArray[np.float32],
        threshold: float,
        filter: Filter | None,  # noqa: A002
        exact: bool,
        threads: int | None,
    ) -> tuple[
        NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], list[str | None] | None, tuple[int, int, int, int]
    ]: ...
    def filter_rows(self, mask: NDArray[np.bool_]) -> Filter: ...
    def filter_ids(self, ids: NDArray[np.int64] | list[str]) -> Filter: ...
    def filter_range(self, first: int, last: int, step: int) -> Filter: ...
    def exact_scores(
        self,
        queries: NDArray[np.float32],
        ids: NDArray[np.int64],
        out: NDArray[np.float32],
        threads: int | None,
    ) -> None: ...
    def exact_scores_of(
        self,
        queries: NDArray[np.float32],
        rows: NDArray[np.float32],
        out: NDArray[np.float32],
        threads: int | None,
    ) -> None: ...
    def reconstruct(self, ids: NDArray[np.int64] | list[str]) -> NDArray[np.float32]: ...
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def plain_rows(self) -> int: ...
    @property
    def removed(self) -> int: ...
    @property
    def sizes(self) -> tuple[int, int, int, int]: ...
    def __len__(self) -> int: ...

@final
class PaperCodec:
    def __new__(cls, kind: str, dim: int, choice: str, bits: list[int], sketch_dim: int, seed: int) -> PaperCodec: ...
    @property
    def fingerprint(self) -> int: ...
    @property
    def row_bytes(self) -> int: ...
    @property
    def norms(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def matrix(self) -> tuple[NDArray[np.int16], float] | None: ...
    def encode(
        self,
        metric: str,
        x: NDArray[np.float32],
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        squares: NDArray[np.float32],
        first_row: int,
        threads: int | None,
    ) -> None: ...
    def decode(
        self,
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        out: NDArray[np.float32],
        threads: int | None,
    ) -> None: ...
    def score(
        self,
        queries: NDArray[np.float32],
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        out: NDArray[np.float32],
        first_row: int,
        threads: int | None,
    ) -> None: ...
    def check(self, packed: NDArray[np.uint8], scales: NDArray[np.float32]) -> None: ...
    def to_bytes(self, packed: NDArray[np.uint8], scales: NDArray[np.float32]) -> bytes: ...

@final
class PaperIndex:
    def __new__(cls, codec: PaperCodec, metric: str) -> PaperIndex: ...
    def add(
        self,
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        squares: NDArray[np.float32],
        ids: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]: ...
    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        scores: NDArray[np.float32],
        ids: NDArray[np.int64],
        products: int,
        threads: int | None,
    ) -> None: ...
    def reconstruct(self, ids: NDArray[np.int64]) -> NDArray[np.float32]: ...
    def parts(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]: ...
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...

def header_from_bytes(data: bytes, size: int) -> tuple[Codec, list[int], int, int, int, int, int, int]: ...
def header_len(data: bytes) -> int: ...
def codes_from_bytes(
    data: bytes,
) -> tuple[Codec, list[int], NDArray[np.uint8], NDArray[np.float32]]: ...
def row_state(index: FlatIndex) -> tuple[int, int, int]: ...
def stored_ids(index: FlatIndex) -> tuple[tuple[int, int, int], NDArray[np.int64]]: ...
def copy_rows(
    index: FlatIndex, first: int, end: int, plain: bool
) -> tuple[
    tuple[int, int, int],
    tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint64]],
]: ...
def allowed_rows(
    index: FlatIndex,
    filter: Filter | None,  # noqa: A002
) -> tuple[tuple[int, int, int], NDArray[np.bool_]]: ...
def convert_rows(
    keep: str,
    x: NDArray[np.float32],
    out: NDArray[np.uint8],
    scales: NDArray[np.float32],
    first_row: int,
) -> None: ...
def paper_codes_from_bytes(
    data: bytes,
) -> tuple[_PaperParameters, NDArray[np.uint8], NDArray[np.float32]]: ...
def available() -> list[str]: ...
def level() -> str: ...
def set_level(name: str) -> None: ...

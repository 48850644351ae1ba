from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Codec",
    "CorruptError",
    "FlatIndex",
    "available",
    "codes_from_bytes",
    "header_from_bytes",
    "level",
    "set_level",
]

_Parameters: TypeAlias = tuple[int, int, int, str, str, int]

class CorruptError(ValueError): ...

@final
class Codec:
    def __new__(cls, dim: int, bits: int, seed: int, rotation: str, scale: str, refine: int) -> Codec: ...
    @property
    def fingerprint(self) -> int: ...
    def row_bytes(self, keep: list[int]) -> int: ...
    @property
    def norms(self) -> int: ...
    @property
    def full(self) -> list[int]: ...
    @property
    def nbytes(self) -> int: ...
    def encode(
        self,
        x: NDArray[np.float32],
        packed: NDArray[np.uint8],
        scales: NDArray[np.float32],
        squares: NDArray[np.float32] | None,
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
    def header(self, keep: list[int], rows: int, packed_crc: int, scales_crc: int) -> bytes: ...
    def to_bytes(self, packed: NDArray[np.uint8], scales: NDArray[np.float32], keep: list[int]) -> bytes: ...

@final
class FlatIndex:
    def __new__(cls, codec: Codec, metric: str) -> FlatIndex: ...
    def add_codes(
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
        threads: int | None,
    ) -> None: ...
    def reconstruct(self, ids: NDArray[np.int64]) -> NDArray[np.float32]: ...
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...

def header_from_bytes(data: bytes, size: int) -> tuple[_Parameters, list[int], int, int, int, int, int, int]: ...
def codes_from_bytes(
    data: bytes,
) -> tuple[_Parameters, list[int], NDArray[np.uint8], NDArray[np.float32]]: ...
def available() -> list[str]: ...
def level() -> str: ...
def set_level(name: str) -> None: ...

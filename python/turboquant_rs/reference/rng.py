"""Counter-based SplitMix64: all randomness between a seed and its bytes (docs/numerics.md section 1).

A counter-based generator needs no state, so NumPy, Rust and CUDA draw the same numbers in any order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def splitmix64(key: int, i: int) -> int:
    """Return output ``i`` of SplitMix64 seeded with ``key`` (both taken modulo 2**64).

    >>> splitmix64(1234567, 0), splitmix64(1234567, 1)
    (6457827717110365317, 3203168211198807973)
    """
    z = (key + (i + 1) * GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def derive(seed: int, *words: int) -> int:
    """Return the key of the stream named by ``words`` under ``seed``."""
    key = seed & _MASK
    for word in words:
        key = splitmix64(key, word)
    return key


def stream(key: int, count: int) -> NDArray[np.uint64]:
    """Return outputs 0 … count−1 of the stream ``key`` as (count,) uint64."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def digest(data: bytes) -> int:
    r"""Return 64 bits that depend on every bit of ``data``, its place, and the length: what a fingerprint takes in.

    splitmix64(Σ_i splitmix64(word_i, i), length), the sum modulo 2**64 over little-endian words, zero-padded.

    >>> digest(b"") == splitmix64(0, 0), digest(b"\x01") == splitmix64(splitmix64(1, 0), 1)
    (True, True)
    """
    words = np.frombuffer(data + bytes(-len(data) % 8), "<u8").astype(np.uint64)
    with np.errstate(over="ignore"):
        z = words + np.arange(1, len(words) + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        total = int((z ^ (z >> np.uint64(31))).sum(dtype=np.uint64))
    return splitmix64(total, len(data))


def signs(key: int, count: int) -> NDArray[np.float32]:
    """Return ``count`` signs, ±1 as float32: bit i % 64 of output i // 64, where 1 means −1."""
    words = stream(key, (count + 63) // 64)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")[:count]
    return np.where(bits == 1, np.float32(-1), np.float32(1)).astype(np.float32)


def permutation(key: int, count: int) -> NDArray[np.int64]:
    """Return a permutation of 0 … count−1 by Fisher–Yates; index i draws output i of the stream."""
    p = list(range(count))
    draws = stream(key, count).tolist()
    for i in range(count - 1, 0, -1):
        j = (draws[i] * (i + 1)) >> 64
        p[i], p[j] = p[j], p[i]
    return np.array(p, dtype=np.int64)

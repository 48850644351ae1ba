"""Rows in the host's memory on a device, a chunk at a time: while kernels read one chunk, the next one is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from .backend import Backend

#: Arrays of neighbouring rows in pinned memory; None where there is none of a kind.
Chunk: TypeAlias = tuple[Any, ...]


class CopiedAhead:
    """Device copies of chunks, in two rooms that take turns.

    A chunk's room is written again by the chunk after the next, once everything that was launched on it is done.
    """

    def __init__(self, backend: Backend, chunks: Sequence[Chunk]) -> None:
        self._copies = backend.copies() if chunks else None
        self._chunks = iter(chunks)
        self._rooms = [[_room(backend, kind) for kind in zip(*chunks, strict=True)] for _ in range(2)]
        self._ahead = self._start()

    def next(self) -> Chunk:
        """Return the next chunk on the device, for what is launched until this is called again."""
        chunk = self._ahead
        assert self._copies is not None
        assert chunk is not None
        self._copies.wait()
        self._ahead = self._start()
        return chunk

    def close(self) -> None:
        """Let the rooms go to what is launched later, which waits for a copy that nobody took."""
        if self._copies is not None:
            self._copies.wait()

    def _start(self) -> Chunk | None:
        chunk = next(self._chunks, None)
        if chunk is None or self._copies is None:
            return None
        self._rooms.reverse()
        device = tuple(
            None if host is None else room[: len(host)] for host, room in zip(chunk, self._rooms[0], strict=True)
        )
        self._copies.start([(to, host) for to, host in zip(device, chunk, strict=True) if host is not None])
        return device


def _room(backend: Backend, arrays: tuple[Any, ...]) -> Any:
    """Return room for the longest of some arrays."""
    there = [array for array in arrays if array is not None]
    if not there:
        return None
    return backend.empty((max(map(len, there)), *there[0].shape[1:]), there[0].dtype)

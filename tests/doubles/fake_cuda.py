"""A double of the CUDA machine under it: GPUs with memory, current devices and streams, and a log of what happens."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

#: Bytes of shared memory that a block may have at most, as on an H200.
LARGEST_SHARED = 227 << 10

#: What fresh memory holds, and what is around it.
RUBBISH = 0xCD


class Event(NamedTuple):
    """Something that happened on a GPU."""

    kind: str
    """"alloc", "operation", "launch", "upload" or "sync": a wait of the host, by any means; of streams "copy", "record"
    and "wait"."""
    device: int
    stream: int


class State:
    """The machine: how many GPUs, how much memory each, what happened."""

    def __init__(self) -> None:
        self.devices = 2
        self.memory = 1 << 30
        self.processors = 4
        self.copies_at_once = False
        self.log: list[Event] = []
        self.used: dict[int, int] = {}
        self.peak: dict[int, int] = {}
        self.streams: dict[int, int] = {}
        self.local = threading.local()
        self.lock = threading.RLock()
        self.buffers: list[tuple[weakref.ref[Any], int, int]] = []

    def reset(self) -> None:
        """Forget what happened; arrays that are alive keep their memory."""
        self.devices, self.memory = 2, 1 << 30
        self.log.clear()
        self.peak = dict(self.used)

    def note(self, kind: str, device: int | None = None, stream: int | None = None) -> None:
        number = current() if device is None else device
        self.log.append(Event(kind, number, stream_of(number) if stream is None else stream))

    def count(self, kind: str) -> int:
        """Return how often something happened."""
        return sum(event.kind == kind for event in self.log)

    def take(self, size: int, device: int) -> None:
        with self.lock:
            used = self.used.get(device, 0)
            if used + size > self.memory:
                raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: {used:,} bytes).")
            self.used[device] = used + size
            self.peak[device] = max(self.peak.get(device, 0), used + size)

    def check_surroundings(self) -> None:
        """Assert that nothing was written beside the arrays that are alive."""
        for reference, start, end in self.buffers:
            buffer = reference()
            assert buffer is None or (buffer[:start] == RUBBISH).all(), "something wrote before an array"
            assert buffer is None or (buffer[end:] == RUBBISH).all(), "something wrote behind an array"
        self.buffers = [entry for entry in self.buffers if entry[0]() is not None]

    def release(self, size: int, device: int) -> None:
        with self.lock:
            self.used[device] -= size


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory.OutOfMemoryError."""


class CUDARuntimeError(RuntimeError):
    """As cupy.cuda.runtime.CUDARuntimeError."""


CUDA = State()


def current() -> int:
    """Return the number of this thread's current GPU."""
    if not CUDA.devices:
        raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
    return getattr(CUDA.local, "device", 0)


def stream_of(device: int) -> int:
    """Return the address of this thread's current stream of a GPU."""
    return getattr(CUDA.local, "streams", {}).get(device, 0)  # type: ignore[no-any-return]


def device_count() -> int:
    """As cupy.cuda.runtime.getDeviceCount."""
    if not CUDA.devices:
        raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
    return CUDA.devices


class Device:
    """As cupy.cuda.Device."""

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = current() if device is None else device.id if isinstance(device, Device) else int(device)
        self._before: list[int] = []

    def __enter__(self) -> Device:
        if not 0 <= self.id < CUDA.devices:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before.append(current())
        CUDA.local.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        CUDA.local.device = self._before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __int__(self) -> int:
        return self.id

    def synchronize(self) -> None:
        CUDA.note("sync", self.id)

    @property
    def attributes(self) -> dict[str, int]:
        return {
            "MultiProcessorCount": CUDA.processors,
            "MaxSharedMemoryPerBlock": 48 << 10,
            "MaxSharedMemoryPerBlockOptin": LARGEST_SHARED,
            "ComputeCapabilityMajor": 9,
            "ComputeCapabilityMinor": 0,
        }

    @property
    def compute_capability(self) -> str:
        return "90"


class Stream:
    """As cupy.cuda.Stream; `null` is CUDA's default stream."""

    null: Stream
    _next = 0x5000

    def __init__(self, pointer: int | None = None, **_: Any) -> None:
        if pointer is None:
            Stream._next += 16
            pointer = Stream._next
        self.ptr = pointer
        self._queued: list[Callable[[], None]] = []
        self._before: list[tuple[int, int]] = []

    @classmethod
    def from_external(cls, other: Any) -> Stream:
        version, pointer = other.__cuda_stream__()
        assert version == 0
        return cls(pointer)

    def __enter__(self) -> Stream:
        device = current()
        self._before.append((device, stream_of(device)))
        self.use()
        return self

    def use(self) -> None:
        if not hasattr(CUDA.local, "streams"):
            CUDA.local.streams = {}
        CUDA.local.streams[current()] = self.ptr

    def __exit__(self, *_: object) -> None:
        device, pointer = self._before.pop()
        CUDA.local.streams[device] = pointer

    def synchronize(self) -> None:
        CUDA.note("sync")

    def queue(self, work: Callable[[], None]) -> None:
        """Put off a copy until something waits for it, or make it at once: a GPU may do either."""
        CUDA.note("copy", stream=self.ptr)
        if CUDA.copies_at_once:
            work()
        else:
            self._queued.append(work)

    def record(self) -> StreamEvent:
        CUDA.note("record", stream=self.ptr)
        return StreamEvent(self, len(self._queued))

    def wait_event(self, event: StreamEvent) -> None:
        CUDA.note("wait", stream=self.ptr)
        done, event.stream._queued[:] = event.stream._queued[: event.queued], event.stream._queued[event.queued :]
        for work in done:
            work()


class StreamEvent(NamedTuple):
    """As cupy.cuda.Event, recorded: a stream, and how many copies were queued."""

    stream: Stream
    queued: int


Stream.null = Stream(0)

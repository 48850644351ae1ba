"""Where an index is searched: on the CPU, or on a GPU with a copy of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from ._arrays import as_int
from ._device import as_device

if TYPE_CHECKING:
    from .codec import Metric, TurboQuant
    from .gpu.index import DeviceIndex
    from .index import Index, Keep


class Placed:
    """What an index knows of devices."""

    __slots__ = ()

    _core: _core.FlatIndex
    _placed: DeviceIndex | None
    codec: TurboQuant
    metric: Metric
    keep: Keep | None

    @property
    def device(self) -> str:
        """Where searches run: "cpu", or "cuda:0" and so on."""
        return "cpu" if self._placed is None else self._placed.device

    def to(self, device: str, *, memory: int | None = None) -> Index:
        """Return an index of the same rows that is searched on another device.

        Its codes are copied to the GPU; the rows stay in host memory too, where they are added, removed, decoded and
        saved. Both indexes have one set of rows: what is added to either is found by both, by the GPU's from its next
        search on, which first copies what is new. Results are the CPU's: the same ids and scores. See docs/gpu.md.

        Parameters
        ----------
        device : str
            "cpu", "cuda" (CuPy's current GPU), or "cuda:0", "cuda:1" ….
        memory : int, optional
            Bytes of the GPU that codes may take, for an index larger than the GPU: the others are kept in pinned memory
            of the host, a second time, and copied to the GPU a chunk at a time in every search. By default all are on
            the GPU.

        Returns
        -------
        Index
            This one if it is there already, with as much memory.

        Raises
        ------
        ValueError
            For what is no device of this machine.
        ImportError, RuntimeError
            If CuPy or a GPU is missing.
        MemoryError
            If the GPU has too little memory for the codes. This index is then as it was.

        Examples
        --------
        >>> from turboquant_rs import Index
        >>> index = Index(64)
        >>> index.device, index.to("cpu") is index
        ('cpu', True)
        """
        name = as_device(device, "an index")
        limit = None if memory is None else as_int(memory, "memory", 0, (1 << 63) - 1)
        if limit is not None and name == "cpu":
            raise ValueError(f'memory must be None on "cpu", got {memory!r}')
        if name == self.device and (self._placed is None or self._placed.memory == limit):
            return self  # type: ignore[return-value]
        placed = None
        if name != "cpu":
            from .gpu.index import DeviceIndex

            placed = DeviceIndex(self._core, self.codec, self.metric, name, limit)
        moved: Any = object.__new__(type(self))
        moved._take(self.codec, self.metric, self.keep, self._core, placed)
        return moved  # type: ignore[no-any-return]

"""The GPUs that the doubles of CUDA and TensorRT share: what they are called, what they hold, what they are doing."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from doubles.device_memory import DeviceMemory

GIBIBYTE: Final = 2**30


@dataclass
class Gpu:
    """One GPU."""

    name: str = "Double of an NVIDIA GPU"
    capability: tuple[int, int] = (8, 6)
    memory_bytes: int = 8 * GIBIBYTE
    broken: bool = False
    """Whether a kernel of it has met an address that is not there: every later call fails."""
    busy: bool = False
    """Whether no kernel can be launched: what asks for one fails, and nothing else."""


@dataclass
class Stream:
    """Work of one GPU in the order in which it was asked for; done when somebody waits for it."""

    gpu: int
    work: deque[Callable[[], None]] = field(default_factory=deque)


class Machine:
    """Everything that this process sees of NVIDIA.

    Attributes:
        gpus: Those there are.
        driver: Whether a driver is there.
        memory: What is held of their memory.
        streams: By handle.
        measured: Kernels that builders have measured, and not found in a cache.
    """

    def __init__(self, gpus: int = 2, memory: DeviceMemory | None = None) -> None:
        self.gpus = [Gpu() for _ in range(gpus)]
        self.driver = True
        self.memory = memory or DeviceMemory()
        self.streams: dict[int, Stream] = {}
        self.measured = 0
        self._handles = itertools.count(0x5000, 0x10)
        self._threads = threading.local()

    @property
    def current(self) -> int:
        """The device of the calling thread: 0 until it selects another."""
        return int(getattr(self._threads, "current", 0))

    @current.setter
    def current(self, index: int) -> None:
        self._threads.current = index

    @property
    def last_error(self) -> Any:
        """What the last call of this thread that failed returned."""
        return getattr(self._threads, "error", None)

    @last_error.setter
    def last_error(self, error: Any) -> None:
        self._threads.error = error

    def open_stream(self) -> int:
        """Return the handle of a new stream of the current device."""
        handle = next(self._handles)
        self.streams[handle] = Stream(self.current)
        return handle

    @property
    def held(self) -> dict[str, int]:
        """What is not given back, by owner; empty when all is."""
        return self.memory.held | ({"stream": len(self.streams)} if self.streams else {})


MACHINE = Machine()


def reset() -> Machine:
    """Have a new machine, with nothing held."""
    MACHINE.__init__()  # type: ignore[misc]
    return MACHINE

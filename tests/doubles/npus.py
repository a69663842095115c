"""The NPUs that the double of acl computes on, and what each thread of this process is doing with them."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any, Final

from doubles.device_memory import DeviceMemory
from doubles.offline_models import OfflineModel

GIBIBYTE: Final = 2**30
CHIP: Final = "Ascend310P3"


class ProcessEnds(BaseException):
    """Where acl itself would read or write memory that is not its own. Nothing may catch it."""


@dataclass
class Loaded:
    """One model that was loaded, and the gear that it was told last."""

    model: OfflineModel
    context: int
    device: int
    address: int
    gear: tuple[int, ...] | None = None
    running: int | None = None


@dataclass
class Dataset:
    """The buffers of all inputs, or of all outputs."""

    buffers: list[int] = field(default_factory=list)


class Machine:
    """Everything that this process sees of Ascend.

    Attributes:
        count: NPUs.
        chip: Their SoC.
        memory_bytes: Memory of each.
        initialised: How often acl was initialised.
        handles: Contexts, models, descriptions, datasets and buffers that exist, by handle.
    """

    def __init__(self, count: int = 2, memory: DeviceMemory | None = None) -> None:
        self.count = count
        self.chip: str | None = CHIP
        self.memory_bytes = 8 * GIBIBYTE
        self.memory = memory or DeviceMemory()
        self.initialised = 0
        self.handles: dict[int, Any] = {}
        self._next = itertools.count(0x10_0000, 0x40)
        self._threads = threading.local()

    def keep(self, thing: Any) -> int:
        """Return the handle of something new."""
        handle = next(self._next)
        self.handles[handle] = thing
        return handle

    def find(self, handle: int, kind: type[Any]) -> Any:
        """Return what a handle stands for; acl itself follows it unseen.

        Raises:
            ProcessEnds: Nothing of that kind, perhaps not any more.
        """
        found = self.handles.get(handle)
        if not isinstance(found, kind):
            raise ProcessEnds(f"{hex(handle)} is no {kind.__name__}")
        return found

    def drop(self, handle: int, kind: type[Any]) -> Any:
        """Forget a handle; see `find`."""
        found = self.find(handle, kind)
        del self.handles[handle]
        return found

    @property
    def context(self) -> int | None:
        """The context of the calling thread."""
        found: int | None = getattr(self._threads, "context", None)
        return found if found in self.handles else None

    @context.setter
    def context(self, handle: int | None) -> None:
        self._threads.context = handle

    @property
    def said(self) -> str:
        """What went wrong last in the calling thread; forgotten once it is read."""
        text, self._threads.said = getattr(self._threads, "said", ""), ""
        return text

    @said.setter
    def said(self, text: str) -> None:
        self._threads.said = text

    @property
    def held(self) -> dict[str, int]:
        """What is not given back, by kind; empty when all is."""
        kinds = [type(thing).__name__ for thing in self.handles.values()]
        return self.memory.held | {kind: kinds.count(kind) for kind in sorted(set(kinds))}


MACHINE = Machine()


def reset() -> Machine:
    """Have a new machine, with nothing held and acl not initialised."""
    MACHINE.__init__()  # type: ignore[misc]
    return MACHINE

"""What all passes share: the loop's tools, and how a pass ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from hpi_operator.act.events import Recorder
from hpi_operator.act.perform import Performer
from hpi_operator.kube.api import Api
from hpi_operator.kube.written import Written
from hpi_operator.observe.pictures import Lack
from hpi_operator.observe.world import World
from hpi_operator.passes.ledger import Ledger
from hpi_operator.passes.queue import Key, WorkQueue
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.observed import Settings

GAP_SECONDS: Final = 0.5
"""When to look again while a picture is not whole for a moment."""
LASTING_GAP_SECONDS: Final = 30.0
"""When to look again while one has not been whole for long."""


@dataclass
class Tools:
    """What every pass needs."""

    api: Api
    world: World
    queue: WorkQueue
    performer: Performer
    recorder: Recorder
    classes: Mapping[ClassName, ClassData]
    settings: Settings
    now: Callable[[], datetime]
    ledger: Ledger = field(default_factory=Ledger)


@dataclass(frozen=True)
class Ended:
    """How a pass ended."""

    written: tuple[Written, ...] = ()
    """Objects that the next pass of the same key must see as they are now."""
    look_again_seconds: float | None = None
    """When time alone may change what is to be done; None: when something changes."""
    refusals: tuple[str, ...] = ()
    """Reasons for which objects were not written."""
    writes: int = 0
    """Writes in all, those of events too."""
    is_postponed: bool = False
    """Whether nothing was looked at, because the pictures are not whole."""


class Pass(Protocol):
    """One kind of pass."""

    def __call__(self, tools: Tools, key: Key) -> Ended:
        """Make the pass of one object.

        Raises:
            HpiError: It could not be finished.
        """


def postponed(lack: Lack) -> Ended:
    """Return how a pass ends that does not see what it needs: nothing is decided on half a picture."""
    return Ended(look_again_seconds=LASTING_GAP_SECONDS if lack.is_lasting else GAP_SECONDS, is_postponed=True)

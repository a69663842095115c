"""What all passes share: the loop's tools, and how a pass ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from hpi_operator.act.events import Recorder
from hpi_operator.act.perform import Performer
from hpi_operator.kube.api import Api
from hpi_operator.observe.world import World
from hpi_operator.passes.queue import Key, WorkQueue
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.observed import Settings


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
    conflicts: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    """What the last pass of each object was refused because others own it."""
    wanted_engines: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """HPIEngines that each pipeline wants or uses, by namespace and name, as of its last pass."""
    runtime_of: dict[tuple[str, str], str] = field(default_factory=dict)
    """HPIRuntime of each pipeline, as of its last pass."""


@dataclass(frozen=True)
class Ended:
    """How a pass ended."""

    writes: int = 0
    look_again_seconds: float | None = None


class Pass(Protocol):
    """One kind of pass."""

    def __call__(self, tools: Tools, key: Key) -> Ended:
        """Make the pass of one object.

        Raises:
            HpiError: It could not be finished.
        """

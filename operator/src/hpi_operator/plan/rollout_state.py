"""The values of a rollout: what its decision looks at, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hpi_core.api.v1alpha1.pipeline_status import CanaryStatus
from hpi_core.api.v1alpha1.rollout import Rollout
from hpi_operator.plan.intent import Event
from hpi_operator.plan.observed import PodView
from hpi_operator.plan.present import Present, of_track
from hpi_operator.plan.revisions import Failure, Revision
from hpi_operator.plan.workload.parts import STABLE

State = Literal["Complete", "Progressing", "Canary", "Paused", "Waiting", "RolledBack", "Stopped"]


@dataclass(frozen=True)
class RolloutObserved:
    """What the decision looks at."""

    rollout: Rollout
    wanted: Revision
    """The revision that the spec asks for; stored already, or new."""
    stored: tuple[Revision, ...]
    """Those that ConfigMaps hold, the newest first."""
    active: str | None
    """The revision that has the traffic, by the status."""
    canary: CanaryStatus | None
    """Where the canary of the wanted revision stands, by the status."""
    completed: str | None
    """The revision that has served alone already, by the status."""
    told: tuple[str, str] | None
    """Revision and reason of the failure that the status tells."""
    deployments: tuple[Present, ...]
    pods: tuple[PodView, ...]
    """Serving pods of all revisions, in an order of their names."""
    replicas: int
    """Pods that are wanted in all."""
    now: datetime
    has_gateway: bool = False
    """Whether requests are split by weight; else they are by replicas."""
    waits_for: str = ""
    """What the wanted revision must wait for before any pod of it may start, in words."""
    waits_for_node: str = ""
    """Why pods of the wanted revision would wait for a node, in words: a revision that serves is left alone then."""
    excused: frozenset[str] = frozenset()
    """Classes of hardware on which pods may wait for a node for ever: another class stands in."""


@dataclass(frozen=True)
class Canary:
    """The canary that should be."""

    revision: Revision
    replicas: int
    status: CanaryStatus
    weight_percent: int = 0
    """Share of the requests that a gateway gives it: none before its pods answer."""


@dataclass(frozen=True)
class RolloutDecision:
    """Which revision each track has."""

    stable: Revision | None
    """None: the first revision has not begun, and nothing serves."""
    wanted: Revision
    """The revision that the spec asks for, marked as failed where it was given up."""
    canary: Canary | None = None
    active: str | None = None
    """The revision that has the traffic from now on."""
    failure: Failure | None = None
    """Why the wanted revision fails at the moment, or was given up."""
    stands_still: bool = False
    """Whether the Deployments of the stable track replace no pod at the moment."""
    state: State = "Complete"
    message: str = ""
    events: tuple[Event, ...] = ()
    look_again_seconds: float | None = None

    def revisions(self) -> tuple[Revision, ...]:
        """Return the revisions that are in use, the wanted one last: it may carry the mark of a failure."""
        canary = [] if self.canary is None else [self.canary.revision]
        return (*([] if self.stable is None else [self.stable]), *canary, self.wanted)


def active_revision(observed: RolloutObserved) -> Revision | None:
    """Return the revision that has the traffic: by the status, else the one with most ready pods."""
    by_name = {one.name: one for one in (*observed.stored, observed.wanted)}
    if observed.active in by_name:
        return by_name[observed.active]
    ready: dict[str, int] = {}
    for pod in observed.pods:
        if pod.ready and pod.revision in by_name:
            ready[pod.revision] = ready.get(pod.revision, 0) + 1
    if not ready:
        return None
    return by_name[min(ready, key=lambda name: (-ready[name], -by_name[name].number))]


def serves_alone(observed: RolloutObserved) -> bool:
    """Return whether the stable track has the wanted revision everywhere, and enough of its pods answer."""
    wanted = observed.wanted.name
    stable = of_track(observed.deployments, STABLE).values()
    if not stable or any(one.revision != wanted or not one.is_settled for one in stable):
        return False
    ready = [pod for pod in observed.pods if pod.track == STABLE and pod.ready and not pod.deleting]
    return all(pod.revision == wanted for pod in ready) and len(ready) >= observed.replicas

"""How many replicas each class of hardware gets: all on the first, or the next stands in for those that wait.

With `Spill`, a replica that waits too long for a node keeps its place on the wished class, and the next class serves in
its stead. So it comes back by itself as soon as there is room, whoever made it: no timer tries, nothing has to be
remembered, and it is the same whether a number of replicas was asked for or an autoscaler owns it. What stands in goes
when as many serve without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from hpi_core.api.v1alpha1.exposure import Autoscaling
from hpi_operator.plan.observed import PodView
from hpi_operator.plan.present import Present


@dataclass(frozen=True)
class ClassPods:
    """The pods of the stable track by class of hardware."""

    ready: Mapping[str, int] = field(default_factory=dict)
    """Pods that answer."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Pods that have waited too long for a node."""
    next_seconds: float | None = None
    """When one more will have waited too long; None: no other waits."""
    left: Mapping[str, int] = field(default_factory=dict)
    """For each class whose pods are being replaced: how many that answer its Deployment is bound to leave."""

    def lasting(self, name: str) -> int:
        """Return how many pods of a class answer and go on doing so, whatever is being replaced at this moment."""
        ready = self.ready.get(name, 0)
        return min(ready, self.left.get(name, ready))


def count_pods(
    pods: Sequence[PodView], now: datetime, after_seconds: int, deployments: Iterable[Present] = ()
) -> ClassPods:
    """Count pods by class.

    Args:
        pods: Pods of the stable track.
        now: The time.
        after_seconds: How long a pod may wait for a node.
        deployments: Those of the stable track that are there.
    """
    ready: dict[str, int] = {}
    waiting: dict[str, int] = {}
    following: float | None = None
    for pod in pods:
        if pod.deleting:
            continue
        if pod.ready:
            ready[pod.class_] = ready.get(pod.class_, 0) + 1
        if pod.unschedulable_since is None or pod.node is not None:
            continue
        remaining = (pod.unschedulable_since + timedelta(seconds=after_seconds) - now).total_seconds()
        if remaining <= 0:
            waiting[pod.class_] = waiting.get(pod.class_, 0) + 1
        else:
            following = remaining if following is None else min(following, remaining)
    left = {one.class_: max(0, one.replicas - one.may_be_away) for one in deployments if not one.is_settled}
    return ClassPods(ready, waiting, following, left)


def wanted_replicas(asked: int | None, scaling: Autoscaling | None, live: int | None) -> int:
    """Return how many replicas are wanted in all.

    Args:
        asked: `spec.replicas`.
        scaling: `spec.autoscaling`.
        live: What the autoscaler has asked for so far; None: nothing yet.
    """
    if scaling is None:
        return 1 if asked is None else asked
    return min(scaling.max_replicas, max(scaling.min_replicas, live or 0))


def spread(classes: Sequence[str], total: int, pods: ClassPods, policy: Literal["First", "Spill"]) -> dict[str, int]:
    """Return the replicas of each class, in the order of wish.

    The places of the replicas that wait left out, they add up to the total; and for as long as replicas that have a
    node again do not answer yet, to more.

    Args:
        classes: Classes that the cluster offers, in the order of wish, at least one.
        total: Replicas that are wanted in all.
        pods: Pods that are there.
        policy: `First` or `Spill`.
    """
    counts = {name: total if place == 0 else 0 for place, name in enumerate(classes)}
    if policy == "First":
        return counts
    for place, name in enumerate(classes[1:], start=1):
        before = classes[place - 1]
        counts[name] = min(pods.waiting.get(before, 0), counts[before])
    # The last class is the first that goes: whether it may is known before the others are looked at.
    for place in range(len(classes) - 1, 0, -1):
        name = classes[place]
        # An update may still take pods away by a bound that is older than this look: they are not counted on.
        earlier = sum(pods.lasting(other) for other in classes[:place])
        later = sum(min(pods.lasting(other), counts[other]) for other in classes[place + 1 :])
        needed_still = min(pods.ready.get(name, 0), max(0, total - earlier - later))
        counts[name] = min(total, max(counts[name], needed_still))
    return counts


def may_be_away(classes: Sequence[str], counts: Mapping[str, int], pods: ClassPods) -> dict[str, int]:
    """Return how many pods of each class may be away while it gets another revision: as many as stand in for it.

    Without this a class without room could never be updated: its new pods wait for the room that the old ones hold.
    Those that do not answer are away already. What answers beyond the total may go too, in one class at a time: the
    Deployments of several classes do not know of one another. Pods beyond a class's replicas do not count: they are its
    own update's, and go with it.

    Args:
        classes: Classes in the order of wish.
        counts: Replicas of each.
        pods: Pods that are there.
    """
    answering = {name: min(pods.ready.get(name, 0), counts[name]) for name in classes}
    spare = max(0, sum(answering.values()) - (counts[classes[0]] if classes else 0))
    turn = next((name for name in classes if name in pods.left), classes[0] if classes else "")
    away = {}
    for place, name in enumerate(classes):
        standing_in = sum(answering[later] for later in classes[place + 1 :])
        away[name] = min(standing_in, counts[name] - answering[name] + (spare if name == turn else 0))
    return away

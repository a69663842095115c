"""How many replicas each class of hardware gets: all on the first, or those that wait move on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_operator.plan.observed import PodView


def wanted_replicas(pipeline: HPIPipeline, live: int | None) -> int:
    """Return how many pods are wanted in all.

    Args:
        pipeline: The pipeline.
        live: Replicas that the stable Deployments ask for now, None where there is none; an autoscaler's word.
    """
    scaling = pipeline.spec.autoscaling
    if scaling is None:
        return 1 if pipeline.spec.replicas is None else pipeline.spec.replicas
    return min(scaling.max_replicas, max(scaling.min_replicas, live or 0))


def spread(
    classes: Sequence[str], total: int, live: Mapping[str, int], waiting: Mapping[str, int], policy: str
) -> dict[str, int]:
    """Return the replicas of each class, in the order of wish; they add up to the total.

    `First` gives all to the first class. `Spill` begins there too; replicas that have waited too long move to the next
    class and stay there until the pipeline wants fewer, the last class first, or the classes change.

    Args:
        classes: Classes that the cluster offers, in the order of wish, at least one.
        total: Replicas that are wanted in all.
        live: Replicas that each class asks for now.
        waiting: Pods of each class that have waited too long for a node.
        policy: `First` or `Spill`.
    """
    if policy == "First" or len(classes) == 1 or not any(live.get(name) for name in classes):
        return {name: total if place == 0 else 0 for place, name in enumerate(classes)}
    counts = {name: live.get(name, 0) for name in classes}
    surplus = sum(counts.values()) - total
    for name in reversed(classes):
        taken = min(max(0, surplus), counts[name])
        counts[name] -= taken
        surplus -= taken
    counts[classes[0]] += max(0, -surplus)
    for place, name in enumerate(classes[:-1]):
        moving = min(waiting.get(name, 0), counts[name])
        counts[name] -= moving
        counts[classes[place + 1]] += moving
    return counts


def waiting_too_long(pods: Sequence[PodView], now: datetime, after_seconds: int) -> tuple[dict[str, int], float | None]:
    """Return pods by class that have waited too long for a node, and when the next one will have.

    Returns:
        Counts by class, and the seconds until one more counts; None where no other waits.
    """
    counts: dict[str, int] = {}
    following: float | None = None
    for pod in pods:
        if pod.unschedulable_since is None or pod.node is not None or pod.deleting:
            continue
        remaining = (pod.unschedulable_since + timedelta(seconds=after_seconds) - now).total_seconds()
        if remaining <= 0:
            counts[pod.class_] = counts.get(pod.class_, 0) + 1
        else:
            following = remaining if following is None else min(following, remaining)
    return counts, following

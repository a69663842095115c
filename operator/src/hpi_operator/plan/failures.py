"""When a revision has failed: more starts of its pods failed than its budget allows, or nothing moved for too long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hpi_core.api.v1alpha1.rollout import Rollout
from hpi_core.moments import stamp
from hpi_operator.plan.conditions import shortened
from hpi_operator.plan.observed import PodView
from hpi_operator.plan.present import PROGRESS_DEADLINE, Present
from hpi_operator.plan.revisions import Failure

FAILING: Final = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons for which a container waits that no waiting mends."""

START_SECONDS: Final = 60
"""A container that cannot be started at all (image, configuration) counts as one more failed start for each such time:
the kubelet tries again and again, and tells nobody how often."""

MAX_REASON_CHARACTERS: Final = 64
MAX_MESSAGE_CHARACTERS: Final = 512
EXIT_CODES: Final = range(-255, 256)


@dataclass(frozen=True)
class Judged:
    """What the pods of a revision show."""

    failure: Failure | None
    """Why it has failed; None: it may still succeed."""
    failed_starts: int
    allowed: int
    next_seconds: float | None
    """When a container that cannot be started counts once more; None: there is none."""


def judge(
    pods: Sequence[PodView],
    deployments: Iterable[Present],
    rollout: Rollout,
    replicas: int,
    now: datetime,
    excused: frozenset[str] = frozenset(),
) -> Judged:
    """Return whether a revision has failed.

    The budget counts failed starts: each restart of a pod that fails, and a pod that cannot be started for each minute.
    With one new pod at a time, a revision that cannot start would otherwise never use its budget up.

    Args:
        pods: Pods of the revision, in an order of their names.
        deployments: Deployments that have the revision.
        rollout: What the pipeline allows.
        replicas: Pods that are wanted in all.
        now: The time.
        excused: Classes of hardware on which a pod may wait for a node for ever: another class stands in.
    """
    alive = [pod for pod in pods if not pod.deleting]
    failing = [pod for pod in alive if is_failing(pod)]
    allowed = absolute(rollout.max_failed_replicas, replicas)
    starts = sum(failed_starts(pod, now) for pod in failing)
    worst = max(failing, key=lambda pod: (failed_starts(pod, now), pod.name), default=None)
    following = min((_next_start(pod, now) for pod in failing if _never_started(pod)), default=None)
    if worst is not None and starts > allowed:
        return Judged(failure_of(worst, worst.waiting_reason or "Error", now), starts, allowed, None)
    for deployment in deployments:
        if not deployment.deadline_exceeded:
            continue
        missing = [pod for pod in alive if pod.class_ == deployment.class_ and not pod.ready]
        stuck = worst or next((pod for pod in missing if pod.node is not None), None) or next(iter(missing), None)
        if stuck is not None and stuck.node is None and deployment.class_ in excused:
            continue
        return Judged(failure_of(stuck, PROGRESS_DEADLINE, now), starts, allowed, None)
    return Judged(None, starts, allowed, following)


def is_failing(pod: PodView) -> bool:
    """Return whether a pod shows a failure that no waiting mends."""
    if pod.ready:
        return False
    return (
        pod.waiting_reason in FAILING or pod.phase == "Failed" or (pod.restarts > 0 and pod.exit_code not in (None, 0))
    )


def failed_starts(pod: PodView, now: datetime) -> int:
    """Return how often a failing pod has failed to start, at least 1."""
    if not _never_started(pod):
        return max(1, pod.restarts)
    return 1 + int(_waiting_seconds(pod, now) // START_SECONDS)


def failure_of(pod: PodView | None, reason: str, now: datetime) -> Failure:
    """Return what a pod shows; None: no pod could be made."""
    if pod is None:
        return Failure(reason, "no pod of it could be made; look at the events of its Deployment", time=stamp(now))
    if pod.node is None and pod.unschedulable_since is not None:
        message = f"the pod waits for a node: {pod.message}; a new pod starts before an old one goes"
    else:
        message = pod.message or "the pod does not say why"
    return Failure(
        reason[:MAX_REASON_CHARACTERS],
        shortened(message, MAX_MESSAGE_CHARACTERS),
        pod.name,
        pod.container,
        pod.exit_code if pod.exit_code in EXIT_CODES else None,
        stamp(now),
    )


def absolute(count: int | str, of: int) -> int:
    """Return a count, or the share of a whole, rounded up: 25 % of 3 is 1."""
    return count if isinstance(count, int) else math.ceil(of * int(count.rstrip("%")) / 100)


def _never_started(pod: PodView) -> bool:
    return pod.waiting_reason in FAILING and pod.restarts == 0 and pod.exit_code is None


def _waiting_seconds(pod: PodView, now: datetime) -> float:
    return max(0.0, (now - (pod.scheduled_at or pod.created_at)).total_seconds())


def _next_start(pod: PodView, now: datetime) -> float:
    return START_SECONDS - _waiting_seconds(pod, now) % START_SECONDS

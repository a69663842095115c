"""How a new revision replaces the old one: which revision each Deployment has, when it has failed, when it goes back.

A decision is made from the world alone: revisions in ConfigMaps, Deployments, pods, and in the status only which
revision has the traffic and since when a step of a canary has stood.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import CanaryStatus
from hpi_core.api.v1alpha1.rollout import Rollout
from hpi_core.names import REVISION
from hpi_operator.plan.conditions import stamp
from hpi_operator.plan.intent import Event, Manifest
from hpi_operator.plan.observed import PodView
from hpi_operator.plan.revisions import Revision
from hpi_operator.plan.workload.parts import CANARY, STABLE

FAILING: Final = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons for which a container waits that no waiting mends."""

PROGRESS_DEADLINE: Final = "ProgressDeadlineExceeded"


@dataclass(frozen=True)
class Failed:
    """A pod that shows why a revision failed."""

    reason: str
    message: str
    pod: str | None
    container: str | None
    exit_code: int | None


@dataclass(frozen=True)
class RolloutObserved:
    """What the decision looks at."""

    present: HPIPipeline
    wanted: Revision
    """The revision that the spec asks for; stored already, or new."""
    stored: tuple[Revision, ...]
    """Those that ConfigMaps hold, the newest first."""
    active: str | None
    """The revision that has the traffic, by the status."""
    canary: CanaryStatus | None
    deployments: Mapping[str, tuple[Manifest, ...]]
    """Live Deployments by track."""
    pods: tuple[PodView, ...]
    replicas: int
    """Pods that are wanted in all."""
    now: datetime


@dataclass(frozen=True)
class RolloutDecision:
    """Which revision each track has."""

    stable: Revision
    wanted: Revision
    """The revision that the spec asks for, marked as failed where it was given up."""
    canary: Revision | None = None
    canary_status: CanaryStatus | None = None
    canary_replicas: int = 0
    active: str | None = None
    """The revision that has the traffic from now on."""
    failure: Failed | None = None
    """Why the wanted revision has just been given up."""
    state: str = "Complete"
    """`Complete`, `Progressing`, `Canary`, `Paused`, `RolledBack`, `Stopped`."""
    message: str = ""
    events: tuple[Event, ...] = ()
    look_again_seconds: float | None = None


def decide(observed: RolloutObserved) -> RolloutDecision:
    """Return which revision each track has now."""
    active = _active(observed)
    wanted = observed.wanted
    if wanted.failed is not None:
        return _given_up(observed, active, wanted.failed)
    failure = _failure(observed)
    if failure is not None and (active is None or active.name != wanted.name):
        return _give_up(observed, active, failure)
    if active is None or active.name == wanted.name:
        return _rolling(observed, wanted)
    if observed.present.spec.rollout.strategy == "Canary":
        return _canary(observed, active)
    return _rolling(observed, wanted)


def _active(observed: RolloutObserved) -> Revision | None:
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


def _rolling(observed: RolloutObserved, wanted: Revision) -> RolloutDecision:
    complete = _is_complete(observed, STABLE, wanted.name, observed.replicas)
    was = observed.active
    if complete:
        events = () if was == wanted.name else (Event("RolloutComplete", f"revision {wanted.name} serves alone"),)
        return RolloutDecision(wanted, wanted, active=wanted.name, events=events)
    # Until the new one serves alone, the old one has the traffic.
    active = was if was is not None else None
    if observed.present.spec.rollout.paused:
        return RolloutDecision(wanted, wanted, active=active, state="Paused", message="spec.rollout.paused is true")
    ready = sum(pod.ready and pod.revision == wanted.name for pod in observed.pods)
    message = f"{ready} of {observed.replicas} replicas of revision {wanted.name} answer"
    return RolloutDecision(wanted, wanted, active=active, state="Progressing", message=message, look_again_seconds=30.0)


def _canary(observed: RolloutObserved, active: Revision) -> RolloutDecision:
    rollout, wanted = observed.present.spec.rollout, observed.wanted
    status = observed.canary or CanaryStatus(
        step=1, weight_percent=rollout.steps[0].weight_percent, since=stamp(observed.now)
    )
    begun = () if observed.canary is not None else (_step_event(wanted, status),)
    if status.step > len(rollout.steps) or status.weight_percent == 100:
        return _promote(observed, active, status)
    replicas = canary_replicas(observed.replicas, status.weight_percent)
    held = RolloutDecision(
        active,
        wanted,
        wanted,
        status,
        replicas,
        active.name,
        state="Canary",
        message=f"step {status.step} of {len(rollout.steps)}: {status.weight_percent} % on revision {wanted.name}",
        events=begun,
    )
    if rollout.paused:
        return replace(held, state="Paused", message=f"{held.message}; spec.rollout.paused is true")
    if not _is_complete(observed, CANARY, wanted.name, replicas):
        # The soak begins when the pods of the step answer.
        return replace(
            held, canary_status=status.model_copy(update={"since": stamp(observed.now)}), look_again_seconds=10.0
        )
    soak = rollout.steps[min(status.step, len(rollout.steps)) - 1].soak_seconds
    remaining = (_moment(status.since) + timedelta(seconds=soak) - observed.now).total_seconds()
    if remaining > 0:
        return replace(held, look_again_seconds=remaining)
    return _next_step(observed, active, status, rollout)


def _next_step(observed: RolloutObserved, active: Revision, status: CanaryStatus, rollout: Rollout) -> RolloutDecision:
    step = status.step + 1
    weight = rollout.steps[step - 1].weight_percent if step <= len(rollout.steps) else 100
    following = CanaryStatus(step=step, weight_percent=weight, since=stamp(observed.now))
    if weight == 100:
        return _promote(observed, active, following, (_step_event(observed.wanted, following),))
    return RolloutDecision(
        active,
        observed.wanted,
        observed.wanted,
        following,
        canary_replicas(observed.replicas, weight),
        active.name,
        state="Canary",
        message=f"step {step} of {len(rollout.steps)}: {weight} % on revision {observed.wanted.name}",
        events=(_step_event(observed.wanted, following),),
        look_again_seconds=10.0,
    )


def _promote(
    observed: RolloutObserved, active: Revision, status: CanaryStatus, events: tuple[Event, ...] = ()
) -> RolloutDecision:
    """Give the stable Deployment the new revision; the canary serves until it has it everywhere."""
    wanted = observed.wanted
    if _is_complete(observed, STABLE, wanted.name, observed.replicas):
        return RolloutDecision(
            wanted,
            wanted,
            active=wanted.name,
            events=(*events, Event("RolloutComplete", f"revision {wanted.name} serves alone")),
        )
    return RolloutDecision(
        wanted,
        wanted,
        wanted,
        status,
        canary_replicas(observed.replicas, 100),
        active.name,
        state="Progressing",
        message=f"revision {wanted.name} passed its canary and replaces {active.name}",
        events=events,
        look_again_seconds=10.0,
    )


def _give_up(observed: RolloutObserved, active: Revision | None, failure: Failed) -> RolloutDecision:
    wanted = observed.wanted
    words = f"{failure.reason}{f' in pod {failure.pod}' if failure.pod else ''}: {failure.message}"
    marked = replace(wanted, failed=words)
    decision = _given_up(replace(observed, wanted=marked), active, words)
    told = Event("RevisionFailed", f"revision {wanted.name} was given up: {words}", "Warning")
    back = (
        (Event("RolledBack", f"revision {active.name} was put back", "Warning"),)
        if active is not None and decision.state == "RolledBack"
        else ()
    )
    return replace(decision, failure=failure, events=(told, *back))


def _given_up(observed: RolloutObserved, active: Revision | None, why: str) -> RolloutDecision:
    wanted = observed.wanted
    message = f"revision {wanted.name} failed: {why}"
    back = active if active is not None and active.name != wanted.name else _last_good(observed)
    if back is None or observed.present.spec.rollout.auto_rollback == "Disabled":
        # Nothing to go back to, or going back was not wanted: what is there stays as it is, for people to look at.
        stays = active if observed.present.spec.rollout.strategy == "Canary" and active is not None else wanted
        return RolloutDecision(stays, wanted, active=observed.active, state="Stopped", message=message)
    return RolloutDecision(back, wanted, active=back.name, state="RolledBack", message=message)


def _last_good(observed: RolloutObserved) -> Revision | None:
    return next((one for one in observed.stored if one.failed is None and one.name != observed.wanted.name), None)


def _failure(observed: RolloutObserved) -> Failed | None:
    """Return why the wanted revision has failed, None as long as it may still succeed."""
    pods = [pod for pod in observed.pods if pod.revision == observed.wanted.name and not pod.deleting]
    failing = [pod for pod in pods if is_failing(pod)]
    failures = sum(max(1, pod.restarts) for pod in failing)
    worst = max(failing, key=lambda pod: (pod.restarts, pod.name), default=None)
    if failures > allowed_failures(observed.present.spec.rollout, observed.replicas):
        return _failed(worst, worst.waiting_reason or "Error" if worst else "Error")
    for deployment in (*observed.deployments.get(STABLE, ()), *observed.deployments.get(CANARY, ())):
        if _revision_of(deployment) == observed.wanted.name and _deadline_exceeded(deployment):
            stuck = worst or next((pod for pod in pods if not pod.ready), None)
            return _failed(stuck, PROGRESS_DEADLINE)
    return None


def is_failing(pod: PodView) -> bool:
    """Return whether a pod shows a failure that no waiting mends."""
    if pod.ready:
        return False
    return (
        pod.waiting_reason in FAILING or pod.phase == "Failed" or (pod.restarts > 0 and pod.exit_code not in (None, 0))
    )


def _failed(pod: PodView | None, reason: str) -> Failed:
    if pod is None:
        return Failed(reason, "no pod of it could be made", None, None, None)
    return Failed(reason, pod.message or "the pod does not say why", pod.name, pod.container, pod.exit_code)


def allowed_failures(rollout: Rollout, replicas: int) -> int:
    """Return how many failures a revision may have."""
    return absolute(rollout.max_failed_replicas, replicas)


def absolute(count: int | str, of: int) -> int:
    """Return a count, or the share of a whole, rounded up: 25 % of 3 is 1."""
    return count if isinstance(count, int) else math.ceil(of * int(count.rstrip("%")) / 100)


def canary_replicas(replicas: int, weight_percent: int) -> int:
    """Return the pods of a canary: its share, at least one."""
    return max(1, math.ceil(replicas * weight_percent / 100)) if replicas > 0 else 0


def _is_complete(observed: RolloutObserved, track: str, revision: str, replicas: int) -> bool:
    """Return whether a track consists of one revision alone, and all its pods answer."""
    deployments = observed.deployments.get(track, ())
    if not deployments or any(_revision_of(one) != revision or not _has_settled(one) for one in deployments):
        return False
    pods = [pod for pod in observed.pods if pod.track == track and not pod.deleting]
    ready = sum(pod.ready for pod in pods)
    return all(pod.revision == revision for pod in pods if pod.ready) and ready >= replicas


def _has_settled(deployment: Manifest) -> bool:
    status: Mapping[str, Any] = deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and status.get("availableReplicas", 0) >= wanted
    )


def _revision_of(deployment: Manifest) -> str | None:
    name: str | None = deployment["spec"]["template"]["metadata"].get("labels", {}).get(REVISION)
    return name


def _deadline_exceeded(deployment: Manifest) -> bool:
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False
    return any(
        one["type"] == "Progressing" and one["status"] == "False" and one.get("reason") == PROGRESS_DEADLINE
        for one in status.get("conditions") or ()
    )


def _step_event(revision: Revision, status: CanaryStatus) -> Event:
    return Event("CanaryStep", f"revision {revision.name} gets {status.weight_percent} % of the requests")


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written.replace("Z", "+00:00"))

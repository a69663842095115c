"""A canary: a second Deployment with the new revision gets a growing share, step by step, before all is given to it.

The old revision keeps all its replicas until the last step has held: a bad one takes nothing from it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Final

from hpi_core.api.v1alpha1.pipeline_status import CanaryStatus
from hpi_core.moments import read_moment, stamp
from hpi_operator.plan.intent import Event
from hpi_operator.plan.observed import PodView
from hpi_operator.plan.present import Present, of_track
from hpi_operator.plan.revisions import Revision
from hpi_operator.plan.rollout_state import Canary, RolloutDecision, RolloutObserved, serves_alone
from hpi_operator.plan.workload.parts import CANARY

LOOK_AGAIN_SECONDS: Final = 10.0
ALL: Final = 100


def go_on_with_canary(observed: RolloutObserved, active: Revision) -> RolloutDecision:
    """Return where the canary stands now, or that it has passed."""
    rollout, wanted = observed.rollout, observed.wanted
    status = observed.canary or _step(1, observed)
    events = () if observed.canary is not None else (_told(wanted, status),)
    if status.weight_percent >= ALL or status.step > len(rollout.steps):
        return _promote(observed, active, status, events)
    canary = _canary(observed, status)
    if len(_ready(observed)) < canary.replicas or not _is_settled(observed):
        held = _held(observed, active, canary)
        return replace(held, events=events, look_again_seconds=LOOK_AGAIN_SECONDS)
    # The soak begins when the last pod of the step has answered.
    answered = [pod.ready_at for pod in _ready(observed) if pod.ready_at is not None]
    soak = timedelta(seconds=rollout.steps[status.step - 1].soak_seconds)
    remaining = (max([read_moment(status.since), *answered]) + soak - observed.now).total_seconds()
    if remaining > 0:
        return replace(_held(observed, active, canary), events=events, look_again_seconds=remaining)
    following = _step(status.step + 1, observed)
    if following.weight_percent >= ALL:
        return _promote(observed, active, following, (*events, _told(wanted, following)))
    held = _held(observed, active, _canary(observed, following))
    return replace(held, events=(*events, _told(wanted, following)), look_again_seconds=LOOK_AGAIN_SECONDS)


def hold_canary(observed: RolloutObserved, active: Revision) -> RolloutDecision:
    """Leave a canary as it is, because the rollout is paused; one that has not begun does not begin."""
    paused = "spec.rollout.paused is true"
    if observed.canary is None or _live(observed) is None:
        words = f"{paused}; revision {observed.wanted.name} has not begun"
        return RolloutDecision(active, observed.wanted, active=active.name, state="Paused", message=words)
    held = _held(observed, active, _canary(observed, observed.canary))
    return replace(held, state="Paused", message=f"{held.message}; {paused}")


def stop_canary(observed: RolloutObserved, active: Revision) -> RolloutDecision:
    """Leave the canary of a revision that was given up to be looked at; a gateway gives it nothing any more."""
    wanted, live = observed.wanted, _live(observed)
    canary = None
    if live is not None and observed.canary is not None:
        canary = Canary(wanted, live.replicas, observed.canary, 0)
    return RolloutDecision(
        active,
        wanted,
        canary,
        active.name,
        failure=wanted.failure,
        state="Stopped",
        message=f"revision {wanted.name} was given up: {wanted.failure}; spec.rollout.autoRollback is Disabled",
    )


def _promote(
    observed: RolloutObserved, active: Revision, status: CanaryStatus, events: tuple[Event, ...]
) -> RolloutDecision:
    """Give the stable track the new revision; the canary keeps its share until it has it everywhere."""
    wanted = observed.wanted
    if serves_alone(observed):
        done = Event("RolloutComplete", f"revision {wanted.name} serves alone")
        return RolloutDecision(wanted, wanted, active=wanted.name, events=(*events, done))
    shares = [step.weight_percent for step in observed.rollout.steps if step.weight_percent < ALL]
    canary = None
    if shares and _live(observed) is not None:
        last = _canary(observed, status.model_copy(update={"weight_percent": shares[-1]}))
        canary = replace(last, status=status)
    return RolloutDecision(
        wanted,
        wanted,
        canary,
        active.name,
        state="Canary",
        message=f"revision {wanted.name} passed its canary and replaces {active.name}",
        events=events,
        look_again_seconds=LOOK_AGAIN_SECONDS,
    )


def _held(observed: RolloutObserved, active: Revision, canary: Canary) -> RolloutDecision:
    step, weight = canary.status.step, canary.status.weight_percent
    words = f"step {step} of {len(observed.rollout.steps)}: {weight} % to revision {canary.revision.name}"
    if not observed.has_gateway:
        total = observed.replicas + canary.replicas
        got = round(ALL * canary.replicas / total) if total else 0
        words += f", by {canary.replicas} of {total} replicas, which is {got} %"
    return RolloutDecision(active, observed.wanted, canary, active.name, state="Canary", message=words)


def _canary(observed: RolloutObserved, status: CanaryStatus) -> Canary:
    replicas = canary_replicas(observed.replicas, status.weight_percent, has_gateway=observed.has_gateway)
    weight = status.weight_percent * min(len(_ready(observed)), replicas) // replicas if replicas else 0
    return Canary(observed.wanted, replicas, status, weight)


def canary_replicas(replicas: int, weight_percent: int, *, has_gateway: bool) -> int:
    """Return the pods of a canary, at least one where anything is wanted.

    With a gateway, its share of the replicas, because that is its share of the requests. Without one requests are
    shared out by pods: beside all the old ones as many as give it its share, and never more than there are old ones,
    so that half is the most it gets before it has all.

    Args:
        replicas: Pods that are wanted in all, at least 0.
        weight_percent: Share of the requests, 1 to 99.
        has_gateway: Whether a gateway splits the requests by weight.
    """
    if replicas == 0:
        return 0
    if has_gateway:
        return max(1, math.ceil(replicas * weight_percent / ALL))
    return max(1, min(replicas, math.ceil(replicas * weight_percent / (ALL - weight_percent))))


def _step(number: int, observed: RolloutObserved) -> CanaryStatus:
    steps = observed.rollout.steps
    weight = steps[number - 1].weight_percent if number <= len(steps) else ALL
    return CanaryStatus.model_validate({"step": number, "weightPercent": weight, "since": stamp(observed.now)})


def _live(observed: RolloutObserved) -> Present | None:
    """Return the live Deployment of the canary; None: there is none of the wanted revision."""
    found = of_track(observed.deployments, CANARY).values()
    return next((one for one in found if one.revision == observed.wanted.name), None)


def _is_settled(observed: RolloutObserved) -> bool:
    live = _live(observed)
    return live is not None and live.is_settled


def _ready(observed: RolloutObserved) -> list[PodView]:
    wanted = observed.wanted.name
    return [
        pod
        for pod in observed.pods
        if pod.track == CANARY and pod.revision == wanted and pod.ready and not pod.deleting
    ]


def _told(revision: Revision, status: CanaryStatus) -> Event:
    return Event("CanaryStep", f"revision {revision.name} gets {status.weight_percent} % of the requests")

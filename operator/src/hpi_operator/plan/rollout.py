"""How a new revision replaces the old one: which revision each track has, when it has failed, when it goes back.

A decision is made from the world alone: revisions in ConfigMaps, Deployments, pods, and in the status only which
revision has the traffic, since when a step of a canary has stood, and which failure was told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from hpi_operator.plan.canary import go_on_with_canary, hold_canary, stop_canary
from hpi_operator.plan.failures import Judged, judge
from hpi_operator.plan.intent import Event
from hpi_operator.plan.present import of_track
from hpi_operator.plan.revisions import Failure, Revision
from hpi_operator.plan.rollout_state import RolloutDecision, RolloutObserved, active_revision, serves_alone
from hpi_operator.plan.workload.parts import STABLE

LOOK_AGAIN_SECONDS: Final = 30.0


def decide(observed: RolloutObserved) -> RolloutDecision:
    """Return which revision each track has now."""
    active, wanted = active_revision(observed), observed.wanted
    is_canary = observed.rollout.strategy == "Canary" and active is not None
    if active is not None and active.name == wanted.name:
        return roll(observed)
    if wanted.given_up:
        if is_canary and active is not None and observed.rollout.auto_rollback == "Disabled":
            return stop_canary(observed, active)
        return _given_up(observed, active)
    if observed.rollout.paused:
        return hold_canary(observed, active) if is_canary and active is not None else _paused(observed, active)
    judged = _judged(observed)
    if judged.failure is not None:
        return _fail(observed, active, judged.failure)
    waits_for = observed.waits_for or (observed.waits_for_node if active is not None else "")
    if waits_for and not _has_begun(observed):
        name = None if active is None else active.name
        return RolloutDecision(active, wanted, active=name, state="Waiting", message=waits_for)
    decision = go_on_with_canary(observed, active) if is_canary and active is not None else roll(observed)
    return replace(decision, look_again_seconds=sooner([decision.look_again_seconds, judged.next_seconds]))


def roll(observed: RolloutObserved) -> RolloutDecision:
    """Give the stable track the wanted revision; until it serves alone, the old one has the traffic."""
    wanted, active = observed.wanted, active_revision(observed)
    if serves_alone(observed):
        done = Event("RolloutComplete", f"revision {wanted.name} serves alone")
        events = () if observed.completed == wanted.name else (done,)
        # It serves: whatever it was given up for is over.
        wanted = replace(wanted, failure=None, superseded=False)
        return RolloutDecision(wanted, wanted, active=wanted.name, events=events)
    ready = sum(pod.ready and not pod.deleting and pod.revision == wanted.name for pod in observed.pods)
    message = f"{ready} of {observed.replicas} replicas of revision {wanted.name} answer"
    return RolloutDecision(
        wanted,
        wanted,
        active=None if active is None else active.name,
        state="Progressing",
        message=message,
        look_again_seconds=LOOK_AGAIN_SECONDS,
    )


def _has_begun(observed: RolloutObserved) -> bool:
    return any(one.revision == observed.wanted.name for one in observed.deployments)


def _judged(observed: RolloutObserved) -> Judged:
    wanted = observed.wanted.name
    return judge(
        [pod for pod in observed.pods if pod.revision == wanted],
        [one for one in observed.deployments if one.revision == wanted],
        observed.rollout,
        observed.replicas,
        observed.now,
        observed.excused,
    )


def _paused(observed: RolloutObserved, active: Revision | None) -> RolloutDecision:
    """Leave everything where it is: what has begun stands still, what has not does not begin."""
    wanted = observed.wanted
    has_begun = any(one.revision == wanted.name for one in of_track(observed.deployments, STABLE).values())
    stable = wanted if has_begun else active
    words = f"spec.rollout.paused is true; revision {wanted.name} " + (
        "stands still where it is" if has_begun else "has not begun"
    )
    name = None if active is None else active.name
    return RolloutDecision(stable, wanted, active=name, stands_still=has_begun, state="Paused", message=words)


def _fail(observed: RolloutObserved, active: Revision | None, failure: Failure) -> RolloutDecision:
    wanted = observed.wanted
    told = Event("RevisionFailed", f"revision {wanted.name} failed: {failure}", "Warning")
    if active is None:
        # There is nothing to go back to: Kubernetes goes on trying, and it serves as soon as it can.
        events = () if observed.told == (wanted.name, failure.reason) else (told,)
        message = f"revision {wanted.name} fails, and there is none to go back to: {failure}"
        return RolloutDecision(
            wanted,
            wanted,
            failure=failure,
            state="Stopped",
            message=message,
            events=events,
            look_again_seconds=LOOK_AGAIN_SECONDS,
        )
    marked = replace(observed, wanted=replace(wanted, failure=failure, superseded=False))
    decision = decide(marked)
    back = Event("RolledBack", f"revision {active.name} was put back", "Warning")
    return replace(decision, events=(told, *([back] if decision.state == "RolledBack" else [])))


def _given_up(observed: RolloutObserved, active: Revision | None) -> RolloutDecision:
    wanted = observed.wanted
    message = f"revision {wanted.name} was given up: {wanted.failure}"
    if active is None:
        return RolloutDecision(wanted, wanted, failure=wanted.failure, state="Stopped", message=message)
    if observed.rollout.auto_rollback == "Disabled":
        # Going back was not wanted: what is there stays as it is, for people to look at.
        return RolloutDecision(
            wanted,
            wanted,
            active=active.name,
            failure=wanted.failure,
            stands_still=True,
            state="Stopped",
            message=f"{message}; spec.rollout.autoRollback is Disabled",
        )
    return RolloutDecision(
        active,
        wanted,
        active=active.name,
        failure=wanted.failure,
        state="RolledBack",
        message=f"{message}; revision {active.name} was put back",
    )


def sooner(waits: Iterable[float | None]) -> float | None:
    """Return the shortest of some waits; None: nothing is waited for."""
    return min((one for one in waits if one is not None), default=None)

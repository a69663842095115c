"""The conditions of a pipeline: what was asked, what was obtained, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hpi_core import reasons
from hpi_core.api.v1alpha1.pipeline_status import ActiveCount
from hpi_operator.plan.conditions import Observation, observation
from hpi_operator.plan.failures import absolute, is_failing
from hpi_operator.plan.findings import Findings
from hpi_operator.plan.intent import Manifest, ObjectKey
from hpi_operator.plan.objects import HTTP_ROUTE, own_claim
from hpi_operator.plan.observed import MAX_EXAMPLES, ObservedPipeline, PodView
from hpi_operator.plan.ownership import is_owned
from hpi_operator.plan.placing import not_usable
from hpi_operator.plan.rollout_state import RolloutDecision
from hpi_operator.plan.workload.exposure import claim_differences
from hpi_operator.plan.workload.storage import cache_claim_name

NEEDED: Final = (
    reasons.ACCEPTED,
    reasons.PLACED,
    reasons.CACHE_READY,
    reasons.AVAILABLE,
    reasons.ROUTED,
)
"""Conditions that Ready sums up, in the order in which the first that does not hold is told."""


def observations(observed: ObservedPipeline, findings: Findings) -> Iterator[Observation]:
    """Yield every condition but Ready."""
    yield _accepted(observed, findings)
    if findings.blocked is None:
        yield _placed(observed, findings)
    yield _available(observed, findings)
    if findings.decision is not None:
        yield _progressing(findings.decision)
        if findings.ahead.condition is not None:
            yield findings.ahead.condition
    yield _engine_active(observed)
    if observed.pipeline.spec.cache.medium == "PersistentVolumeClaim" and findings.blocked is None:
        yield _cache_ready(observed)
    if observed.pipeline.spec.route is not None and findings.blocked is None:
        yield _routed(observed)


def _accepted(observed: ObservedPipeline, findings: Findings) -> Observation:
    if findings.blocked is not None:
        return observation(reasons.ACCEPTED, False, findings.blocked.reason, findings.blocked.message)
    if findings.taken:
        return observation(reasons.ACCEPTED, False, "NameTaken", "; ".join(findings.taken))
    if observed.refusals:
        message = "; ".join(one.message for one in observed.refusals)
        return observation(reasons.ACCEPTED, False, observed.refusals[0].reason, message)
    return observation(reasons.ACCEPTED, True, "SpecAccepted")


def _placed(observed: ObservedPipeline, findings: Findings) -> Observation:
    placing = findings.placing
    if placing is None:
        return observation(reasons.PLACED, "Unknown", "WorldIncomplete")
    lacks = "; ".join((*placing.no_runtime, *placing.lacking))
    if not placing.classes:
        reason = "NoMatchingRuntime" if placing.no_runtime else "NoMatchingNode"
        return observation(reasons.PLACED, False, reason, lacks)
    classes = findings.classes or placing.classes[:1]
    waits = not_usable(placing.classes[0])
    if waits:
        return observation(reasons.PLACED, False, "RuntimeNotUsable", waits + (f"; {lacks}" if lacks else ""))
    words = ", ".join(
        f"{one.data.name} with {one.chosen.name} on {_count(one.chosen.usable_nodes, 'usable node')}" for one in classes
    )
    stand_ins = [one for one in classes[1:] if findings.counts.get(one.label, 0) > 0]
    if stand_ins:
        waiting = ", ".join(
            f"{findings.waiting[one.label]} of {_count(findings.counts[one.label], 'replica')} wait for {one.data.name}"
            for one in classes[:-1]
            if findings.waiting.get(one.label, 0) > 0
        )
        names = " and ".join(one.data.name for one in stand_ins)
        told = waiting or "replicas have found a node again and do not answer yet"
        words = f"{told}{_scheduler_words(observed)}; {names} serves in their stead until they answer; {words}"
    return observation(
        reasons.PLACED, True, "Spilled" if stand_ins else "ClassChosen", words + (f"; {lacks}" if lacks else "")
    )


def _scheduler_words(observed: ObservedPipeline) -> str:
    waiting = (pod.message for pod in observed.pods if pod.unschedulable_since is not None and pod.node is None)
    words = next((message for message in waiting if message), "")
    return f" ({words})" if words else ""


def _available(observed: ObservedPipeline, findings: Findings) -> Observation:
    ready = sum(pod.ready and not pod.deleting for pod in serving(observed))
    wanted = findings.wanted_replicas
    if wanted is None:
        before = observed.pipeline.status
        wanted = observed.pipeline.spec.replicas if before is None else before.wanted_replicas
    if wanted == 0 and findings.blocked is None and findings.decision is not None:
        return observation(reasons.AVAILABLE, True, "ScaledToZero", "no replica is wanted")
    wanted = 1 if wanted is None else wanted
    may_miss = absolute(observed.pipeline.spec.availability.max_unavailable, wanted)
    words = f"{ready} of {_count(wanted, 'replica')} answer{'s' if wanted == 1 else ''}"
    if ready == 0:
        return observation(reasons.AVAILABLE, False, "NoReplica", words + _why(observed))
    if ready < wanted - may_miss:
        return observation(reasons.AVAILABLE, False, "TooFewReplicas", words + _why(observed))
    return observation(reasons.AVAILABLE, True, "EnoughReplicas", words)


def serving(observed: ObservedPipeline) -> tuple[PodView, ...]:
    """Return the pods that serve or shall serve; those that build ahead are left out."""
    return tuple(pod for pod in observed.pods if pod.track)


def _why(observed: ObservedPipeline) -> str:
    """Return what the pod says that fails worst, or the one that waits for a node."""
    failing = [pod for pod in serving(observed) if is_failing(pod) and not pod.deleting]
    waiting = [pod for pod in serving(observed) if pod.unschedulable_since is not None and pod.node is None]
    for pod in sorted([*failing, *waiting], key=lambda pod: (-pod.restarts, pod.name)):
        where = f", container {pod.container}" if pod.container else ""
        reason = pod.waiting_reason or ("Unschedulable" if pod.node is None else "Error")
        return f"; pod {pod.name}{where}: {reason}: {pod.message or 'it does not say why'}"
    return ""


def _progressing(decision: RolloutDecision) -> Observation:
    reason = {
        "RolledBack": "RolledBack",
        "Stopped": "RevisionFailed",
        "Paused": "Paused",
        "Canary": "CanaryStep",
        "Waiting": "Progressing",
        "Progressing": "Progressing",
        "Complete": "RolloutComplete",
    }[decision.state]
    is_moving = decision.state in ("Canary", "Waiting", "Progressing")
    message = decision.message or f"revision {decision.wanted.name} serves alone"
    return observation(reasons.PROGRESSING, is_moving, reason, message)


def _engine_active(observed: ObservedPipeline) -> Observation:
    sums = active_count(observed)
    words = "; ".join(observed.engine_messages[:MAX_EXAMPLES])
    if sums.measured + sums.provisional + sums.fallback + sums.building == 0:
        return observation(reasons.ENGINE_ACTIVE, "Unknown", "NotReported")
    if sums.building:
        message = words or f"{_count(sums.building, 'replica')} build{'s' if sums.building == 1 else ''}"
        return observation(reasons.ENGINE_ACTIVE, False, "Building", message)
    if sums.fallback:
        return observation(
            reasons.ENGINE_ACTIVE, False, "Fallback", words or f"{_count(sums.fallback, 'replica')} fell back"
        )
    if sums.provisional:
        return observation(reasons.ENGINE_ACTIVE, True, "Provisional", words)
    return observation(reasons.ENGINE_ACTIVE, True, "Measured")


def active_count(observed: ObservedPipeline) -> ActiveCount:
    """Return the replicas of all revisions by how their engines came to be."""
    counts = list(observed.engine_active.values())
    return ActiveCount(
        measured=sum(one.measured for one in counts),
        provisional=sum(one.provisional for one in counts),
        fallback=sum(one.fallback for one in counts),
        building=sum(one.building for one in counts),
    )


def _cache_ready(observed: ObservedPipeline) -> Observation:
    pipeline = observed.pipeline
    name = cache_claim_name(pipeline)
    several = pipeline.spec.autoscaling is not None or (pipeline.spec.replicas or 1) > 1
    if pipeline.spec.cache.claim_name is not None:
        modes = next(
            (text for key, text in observed.references.items() if key.kind == _CLAIM and key.name == name), None
        )
        if modes and several and "ReadWriteMany" not in modes.split(","):
            message = f"claim {name} has access modes {modes}, and several replicas are wanted"
            return observation(reasons.CACHE_READY, False, "AccessModeRefused", message)
        return observation(reasons.CACHE_READY, True, "AsWanted")
    live = own_claim(observed)
    if live is None:
        return observation(reasons.CACHE_READY, "Unknown", "ClaimPending", f"claim {name} is being made")
    differences = claim_differences(pipeline.spec.cache, live)
    if differences:
        message = f"claim {name} cannot be changed: {'; '.join(differences)}"
        return observation(reasons.CACHE_READY, False, "ClaimDiffers", message)
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase != "Bound":
        return observation(reasons.CACHE_READY, "Unknown", "ClaimPending", f"claim {name} is {phase}")
    return observation(reasons.CACHE_READY, True, "AsWanted")


_CLAIM: Final = "PersistentVolumeClaim"


def _routed(observed: ObservedPipeline) -> Observation:
    if HTTP_ROUTE not in observed.apis:
        message = f"spec.route needs {HTTP_ROUTE}, which the cluster does not have"
        return observation(reasons.ROUTED, False, "ApiMissing", message)
    name = observed.pipeline.metadata.name
    namespace = observed.pipeline.metadata.namespace or "default"
    live = observed.children.get(ObjectKey("gateway.networking.k8s.io/v1", "HTTPRoute", namespace, name))
    if live is None or not is_owned(live, observed.uid):
        return observation(reasons.ROUTED, "Unknown", "RouteNotAccepted", f"HTTPRoute {name} is being made")
    refusals = list(_refusals(live))
    parents = (live.get("status") or {}).get("parents") or ()
    if refusals:
        return observation(reasons.ROUTED, False, "RouteNotAccepted", "; ".join(sorted(refusals)))
    if not parents:
        message = f"no gateway has answered to HTTPRoute {name} yet"
        return observation(reasons.ROUTED, "Unknown", "RouteNotAccepted", message)
    return observation(reasons.ROUTED, True, "AsWanted")


def _refusals(route: Manifest) -> Iterator[str]:
    for parent in (route.get("status") or {}).get("parents") or ():
        gateway = (parent.get("parentRef") or {}).get("name", "?")
        for one in parent.get("conditions") or ():
            if one["type"] in ("Accepted", "ResolvedRefs") and one["status"] == "False":
                yield f"Gateway {gateway}: {one.get('reason', '')}: {one.get('message', '')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

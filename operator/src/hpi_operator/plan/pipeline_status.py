"""The status of a pipeline: what was asked, what was obtained, why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hpi_core import reasons
from hpi_core.api.v1alpha1.engine import CandidateStatus, HPIEngine
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import MAX_MODELS, ActiveCount
from hpi_core.names import PIPELINE
from hpi_operator.plan.conditions import Observation, merged, observation, readiness, shortened, stamp
from hpi_operator.plan.intent import Event, Plan
from hpi_operator.plan.observed import MAX_EXAMPLES, ObservedPipeline
from hpi_operator.plan.placing import Placing
from hpi_operator.plan.revisions import stored_revisions
from hpi_operator.plan.rollout import RolloutDecision, absolute, is_failing
from hpi_operator.plan.workload.exposure import service_port
from hpi_operator.plan.workload.parts import ClassPlan

NEEDED: Final = (reasons.ACCEPTED, reasons.PLACED, reasons.CACHE_READY, reasons.AVAILABLE, reasons.ROUTED)
"""Conditions that Ready sums up, in the order in which the first that does not hold is told."""


@dataclass(frozen=True)
class Findings:
    """What the decision found on its way."""

    blocked: tuple[str, str] | None = None
    """Reason and message of what keeps everything from being made."""
    placing: Placing | None = None
    classes: tuple[ClassPlan, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    wanted_replicas: int | None = None
    decision: RolloutDecision | None = None
    spilled: bool = False
    route_missing: bool = False


def pipeline_status(observed: ObservedPipeline, findings: Findings) -> Plan:
    """Return a plan that holds the status alone, with the events of what has changed."""
    before = observed.pipeline.status
    told = list(_observations(observed, findings))
    told.append(readiness(told, NEEDED))
    old = () if before is None else before.conditions
    conditions = merged(old, told, observed.generation, observed.now)
    status: dict[str, Any] = {
        "observedGeneration": observed.generation,
        "conditions": conditions,
        **_counts(observed, findings),
        **_words(observed, findings),
        **_rollout(observed, findings),
        **_engines(observed),
    }
    events = [*(findings.decision.events if findings.decision is not None else ())]
    was = next((one for one in old if one.type == reasons.READY), None)
    now = next(one for one in told if one.type == reasons.READY)
    if was is None or (was.status, was.reason) != (now.status, now.reason):
        kind = "Normal" if now.status == "True" or now.reason in ("Progressing", "NoReplica") else "Warning"
        events.append(Event(now.reason, now.message or "ready", "Warning" if kind == "Warning" else "Normal"))
    return Plan(
        status={key: value for key, value in status.items() if value not in (None, [], "")}, events=tuple(events)
    )


def _observations(observed: ObservedPipeline, findings: Findings) -> Iterator[Observation]:
    yield _accepted(observed, findings)
    if findings.blocked is None:
        yield _placed(findings)
    yield _available(observed, findings)
    if findings.decision is not None:
        yield _progressing(findings.decision)
    yield _engine_active(observed)
    if observed.pipeline.spec.cache.medium == "PersistentVolumeClaim":
        yield observation(reasons.CACHE_READY, True, "AsWanted")
    if findings.route_missing:
        message = "spec.route needs gateway.networking.k8s.io/v1 HTTPRoute, which the cluster does not have"
        yield observation(reasons.ROUTED, False, "ApiMissing", message)
    elif observed.pipeline.spec.route is not None and findings.decision is not None:
        yield observation(reasons.ROUTED, True, "AsWanted")


def _accepted(observed: ObservedPipeline, findings: Findings) -> Observation:
    if findings.blocked is not None:
        return observation(reasons.ACCEPTED, False, *findings.blocked)
    if observed.refusals:
        message = "; ".join(one.message for one in observed.refusals)
        return observation(reasons.ACCEPTED, False, observed.refusals[0].reason, message)
    return observation(reasons.ACCEPTED, True, "SpecAccepted")


def _placed(findings: Findings) -> Observation:
    placing = findings.placing
    if placing is None:
        return observation(reasons.PLACED, "Unknown", "WorldIncomplete")
    lacks = "; ".join((*placing.lacking, *placing.no_runtime))
    if not placing.classes:
        reason = "NoMatchingRuntime" if placing.no_runtime else "NoMatchingNode"
        return observation(reasons.PLACED, False, reason, lacks)
    first = placing.classes[0]
    if first.chosen.usable_nodes == 0:
        name = first.chosen.runtime.metadata.name
        nodes = sum(group.count for group in first.chosen.groups)
        message = f"the self-test of {name} has not passed yet on any of the {nodes} nodes that it fits"
        return observation(reasons.PLACED, False, "RuntimeNotUsable", message)
    words = ", ".join(
        f"{one.data.name} with {one.chosen.runtime.metadata.name} on {one.chosen.usable_nodes} usable nodes"
        for one in findings.classes
    )
    return observation(
        reasons.PLACED, True, "Spilled" if findings.spilled else "ClassChosen", words + (f"; {lacks}" if lacks else "")
    )


def _available(observed: ObservedPipeline, findings: Findings) -> Observation:
    ready = _ready(observed)
    wanted = findings.wanted_replicas
    if wanted is None:
        wanted = observed.pipeline.spec.replicas or 0
    if wanted == 0 and findings.wanted_replicas == 0:
        return observation(reasons.AVAILABLE, True, "ScaledToZero", "spec.replicas is 0")
    may_miss = absolute(observed.pipeline.spec.availability.max_unavailable, wanted)
    words = f"{ready} of {wanted} replicas answer{_why(observed)}"
    if ready == 0:
        return observation(reasons.AVAILABLE, False, "NoReplica", words)
    if ready < wanted - may_miss:
        return observation(reasons.AVAILABLE, False, "TooFewReplicas", words)
    return observation(reasons.AVAILABLE, True, "EnoughReplicas", f"{ready} of {wanted} replicas answer")


def _why(observed: ObservedPipeline) -> str:
    """Return what the pod that fails worst says, or the one that waits for a node."""
    failing = [pod for pod in observed.pods if is_failing(pod)]
    waiting = [pod for pod in observed.pods if pod.unschedulable_since is not None and pod.node is None]
    for pod in sorted([*failing, *waiting], key=lambda pod: (-pod.restarts, pod.name)):
        where = f", container {pod.container}" if pod.container else ""
        return f"; pod {pod.name}{where}: {pod.waiting_reason or 'unschedulable'}: {pod.message}"
    return ""


def _progressing(decision: RolloutDecision) -> Observation:
    if decision.state in ("RolledBack", "Stopped"):
        reason = "RolledBack" if decision.state == "RolledBack" else "RevisionFailed"
        return observation(reasons.PROGRESSING, False, reason, decision.message)
    if decision.state == "Paused":
        return observation(reasons.PROGRESSING, False, "Paused", decision.message)
    if decision.state == "Canary":
        return observation(reasons.PROGRESSING, True, "CanaryStep", decision.message)
    if decision.state == "Progressing":
        return observation(reasons.PROGRESSING, True, "Progressing", decision.message)
    return observation(reasons.PROGRESSING, False, "RolloutComplete", f"revision {decision.stable.name} serves alone")


def _engine_active(observed: ObservedPipeline) -> Observation:
    sums = _active(observed)
    reported = sums.measured + sums.provisional + sums.fallback + sums.building
    words = "; ".join(observed.engine_messages[:MAX_EXAMPLES])
    if reported == 0:
        return observation(reasons.ENGINE_ACTIVE, "Unknown", "NotReported")
    if sums.building:
        return observation(reasons.ENGINE_ACTIVE, False, "Building", words or f"{sums.building} replicas build")
    if sums.fallback:
        return observation(reasons.ENGINE_ACTIVE, False, "Fallback", words or f"{sums.fallback} replicas fell back")
    if sums.provisional:
        return observation(reasons.ENGINE_ACTIVE, True, "Provisional", words)
    return observation(reasons.ENGINE_ACTIVE, True, "Measured")


def _active(observed: ObservedPipeline) -> ActiveCount:
    counts = list(observed.engine_active.values())
    return ActiveCount(
        measured=sum(one.measured for one in counts),
        provisional=sum(one.provisional for one in counts),
        fallback=sum(one.fallback for one in counts),
        building=sum(one.building for one in counts),
    )


def _ready(observed: ObservedPipeline) -> int:
    return sum(pod.ready and not pod.deleting for pod in observed.pods)


def _counts(observed: ObservedPipeline, findings: Findings) -> dict[str, Any]:
    pods = [pod for pod in observed.pods if not pod.deleting]
    classes = []
    for one in findings.classes:
        ready = sum(pod.ready and pod.class_ == one.label for pod in pods)
        classes.append({"class": one.data.name, "replicas": findings.counts.get(one.label, 0), "readyReplicas": ready})
    active = _active(observed)
    nodes = sorted({pod.node for pod in pods if pod.ready and pod.node})[:MAX_EXAMPLES]
    return {
        "replicas": len(pods),
        "readyReplicas": _ready(observed),
        "wantedReplicas": findings.wanted_replicas,
        "selector": f"{PIPELINE}={observed.pipeline.metadata.name}",
        "classes": classes,
        "engineActive": active.model_dump(mode="json", by_alias=True),
        "exampleNodes": nodes,
    }


def _words(observed: ObservedPipeline, findings: Findings) -> dict[str, Any]:
    pipeline = observed.pipeline
    scheme = "http" if pipeline.spec.serving.tls is None else "https"
    host = f"{pipeline.metadata.name}.{pipeline.metadata.namespace or 'default'}.svc"
    port = service_port(pipeline)
    usual = {"http": 80, "https": 443}[scheme]
    backends = sorted({one["backend"] for one in _models(observed) if one.get("backend")})
    on = [
        f"{ready} {one.data.name}"
        for one in findings.classes
        if (ready := sum(pod.ready and pod.class_ == one.label for pod in observed.pods)) > 0
    ]
    return {
        "pipeline": shortened(pipeline_word(pipeline), 128),
        "url": f"{scheme}://{host}{'' if port == usual else f':{port}'}" if findings.decision is not None else "",
        "backend": shortened(", ".join(backends), 128),
        "hardware": shortened(", ".join(on), 128),
        "runtime": findings.classes[0].chosen.runtime.metadata.name if findings.classes else None,
    }


def pipeline_word(pipeline: HPIPipeline) -> str:
    """Return the name of what is served: PaddleX's pipeline, or the module."""
    spec = pipeline.spec
    if spec.pipeline is not None:
        return spec.pipeline
    if spec.module is not None:
        return spec.module.name
    if spec.config is not None and spec.config.inline is not None:
        return str(spec.config.inline.get("pipeline_name", ""))
    return f"ConfigMap {spec.config.config_map_key_ref.name}" if spec.config and spec.config.config_map_key_ref else ""


def _rollout(observed: ObservedPipeline, findings: Findings) -> dict[str, Any]:
    before, decision = observed.pipeline.status, findings.decision
    if decision is None:
        # Nothing was decided: what is there, is there still.
        if before is None:
            return {}
        kept = before.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {key: kept[key] for key in ("revision", "wantedRevision", "lastFailure", "revisions") if key in kept}
    wanted = decision.wanted
    failure = None
    if decision.failure is not None:
        failure = {
            "reason": decision.failure.reason,
            "message": shortened(decision.failure.message, 1_024),
            "revision": wanted.name,
            "pod": decision.failure.pod,
            "container": decision.failure.container,
            "exitCode": decision.failure.exit_code,
            "time": stamp(observed.now),
        }
        failure = {key: value for key, value in failure.items() if value is not None}
    elif before is not None and before.last_failure is not None:
        failure = before.last_failure.model_dump(mode="json", by_alias=True, exclude_none=True)
    canary = decision.canary_status
    return {
        "revision": decision.active,
        "wantedRevision": wanted.name,
        "canary": None if canary is None else canary.model_dump(mode="json", by_alias=True),
        "lastFailure": failure,
        "revisions": list(_revisions(observed, decision)),
    }


def _revisions(observed: ObservedPipeline, decision: RolloutDecision) -> Iterator[dict[str, Any]]:
    known = {one.name: one for one in stored_revisions(observed.pipeline, observed.children)}
    known |= {one.name: one for one in (decision.stable, decision.wanted)}
    limit = min(10, observed.pipeline.spec.rollout.revision_history_limit + 2)
    for one in sorted(known.values(), key=lambda one: -one.number)[:limit]:
        if one.failed is not None:
            state = "Failed"
        elif one.name == decision.active:
            state = "Active"
        elif one.name in (decision.stable.name, decision.canary.name if decision.canary else None):
            state = "Progressing"
        else:
            state = "Retired"
        yield {"name": one.name, "number": one.number, "state": state, "createdAt": stamp(one.created_at)}


def _engines(observed: ObservedPipeline) -> dict[str, Any]:
    used = [one for one in observed.engines if one.metadata.name in observed.engines_in_use]
    states = [_state(one) for one in used]
    return {
        "models": _models(observed),
        "engines": {
            "wanted": len(used),
            "ready": states.count("ready"),
            "building": states.count("building"),
            "failed": states.count("failed"),
        },
    }


def _state(engine: HPIEngine) -> str:
    status = engine.status
    if status is None:
        return "building"
    if status.chosen is not None:
        return "ready"
    return "failed" if status.last_failure is not None else "building"


def _models(observed: ObservedPipeline) -> list[dict[str, Any]]:
    paths = {one.model.name: one.path for one in observed.pipeline.spec.modules if one.model is not None}
    wishes = {
        one.model.name: one.inference.hpi_config.backend
        for one in observed.pipeline.spec.modules
        if one.model is not None and one.inference is not None and one.inference.hpi_config is not None
    }
    general = observed.pipeline.spec.inference.hpi_config
    found: dict[str, dict[str, Any]] = {}
    for engine in sorted(observed.engines, key=lambda one: one.metadata.name):
        name = engine.spec.model_name
        if engine.metadata.name not in observed.engines_in_use or name in found:
            continue
        chosen = _chosen(engine)
        written = {
            "name": shortened(name, 64),
            "path": paths.get(name),
            "wantedBackend": wishes.get(name) or (general.backend if general is not None else None),
            "backend": chosen.backend if chosen is not None else None,
            "precision": chosen.precision if chosen is not None else None,
            "p50Microseconds": chosen.p50_microseconds if chosen is not None else None,
            "engine": engine.metadata.name,
            "reason": shortened(chosen.reason, 128) if chosen is not None else "not decided yet",
        }
        found[name] = {key: value for key, value in written.items() if value is not None}
    return [found[name] for name in sorted(found)][:MAX_MODELS]


def _chosen(engine: HPIEngine) -> CandidateStatus | None:
    if engine.status is None or engine.status.chosen is None:
        return None
    return next((one for one in engine.status.candidates if one.name == engine.status.chosen), None)

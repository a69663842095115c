"""The status of a pipeline: its conditions, counts that do not grow with the cluster, and words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hpi_core import reasons
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import MAX_EXAMPLES, PipelineStatus
from hpi_core.moments import stamp
from hpi_core.names import CLASS, PIPELINE, TRACK
from hpi_operator.plan.accelerators import CLASSES
from hpi_operator.plan.conditions import Observation, merged, readiness, shortened
from hpi_operator.plan.findings import Findings
from hpi_operator.plan.intent import Event, Plan
from hpi_operator.plan.model_status import engine_counts, model_statuses
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.ownership import is_owned
from hpi_operator.plan.pipeline_conditions import NEEDED, active_count, observations, serving
from hpi_operator.plan.pipeline_notes import notes
from hpi_operator.plan.revisions import Failure, Revision, stored_revisions
from hpi_operator.plan.rollout_state import RolloutDecision
from hpi_operator.plan.workload.exposure import service_port
from hpi_operator.plan.workload.parts import STABLE

MAX_REVISIONS: Final = 10
MAX_WORDS: Final = 128
ACTIVE: Final = "Active"
"""State of the revision that has served alone and still has the traffic."""
QUIET: Final = frozenset({"Progressing", "NoReplica", "NotReported", "ClaimPending", "RouteNotAccepted"})
"""Reasons for which a pipeline is not ready that time mends as a rule."""


def pipeline_status(observed: ObservedPipeline, findings: Findings) -> Plan:
    """Return a plan that holds the status alone, with the events of what has changed."""
    before = observed.pipeline.status
    told = list(observations(observed, findings))
    told.append(readiness(told, NEEDED))
    old = () if before is None else before.conditions
    status: dict[str, Any] = {
        "observedGeneration": observed.generation,
        "conditions": merged(old, told, observed.generation, observed.now),
        **_counts(observed, findings),
        **_words(observed, findings),
        **_rollout(observed, findings),
        "models": model_statuses(observed),
        "engines": engine_counts(observed, findings.ahead.engines),
        "notes": notes(observed, findings),
    }
    decided = () if findings.decision is None else findings.decision.events
    return Plan(
        status={key: value for key, value in status.items() if value not in (None, [], "")},
        events=(*decided, *_events(before, told)),
        wanted_engines=findings.ahead.engines | frozenset(observed.engines_in_use),
    )


def _events(before: PipelineStatus | None, told: list[Observation]) -> Iterator[Event]:
    """Yield what has changed: Ready, and that others stand in for replicas that wait."""
    old = {} if before is None else {one.type: one for one in before.conditions}
    for one in told:
        was = old.get(one.type)
        if was is not None and (was.status, was.reason) == (one.status, one.reason):
            continue
        if one.type == reasons.READY:
            is_normal = one.status == "True" or one.reason in QUIET
            yield Event(one.reason, one.message or "ready", "Normal" if is_normal else "Warning")
        elif one.reason == "Spilled":
            yield Event(one.reason, one.message)


def _counts(observed: ObservedPipeline, findings: Findings) -> dict[str, Any]:
    pods = [pod for pod in serving(observed) if not pod.deleting]
    ready = [pod for pod in pods if pod.ready]
    nodes = sorted({pod.node for pod in ready if pod.node})[:MAX_EXAMPLES]
    wanted = findings.wanted_replicas
    if wanted is None and observed.pipeline.status is not None:
        wanted = observed.pipeline.status.wanted_replicas
    by_class = _replicas_by_class(observed, findings)
    return {
        "replicas": len(pods),
        "readyReplicas": len(ready),
        "wantedReplicas": wanted,
        "selector": f"{PIPELINE}={observed.pipeline.metadata.name}",
        "classes": [
            {"class": name, "replicas": count, "readyReplicas": sum(pod.class_ == name.lower() for pod in ready)}
            for name, count in by_class.items()
        ],
        "engineActive": active_count(observed).model_dump(mode="json", by_alias=True),
        "exampleNodes": nodes,
    }


def _replicas_by_class(observed: ObservedPipeline, findings: Findings) -> dict[str, int]:
    """Return the replicas that are wanted on each class; where nothing was decided, that are there."""
    if findings.decision is not None:
        return {one.data.name: findings.counts.get(one.label, 0) for one in findings.classes}
    found: dict[str, int] = {}
    for key, live in observed.children.items():
        labels = live["metadata"].get("labels") or {}
        if key.kind == "Deployment" and labels.get(TRACK) == STABLE and is_owned(live, observed.uid):
            found[labels.get(CLASS, "")] = live["spec"].get("replicas", 1)
    return {name: found[name.lower()] for name in CLASSES if name.lower() in found}


def _words(observed: ObservedPipeline, findings: Findings) -> dict[str, Any]:
    pipeline, before = observed.pipeline, observed.pipeline.status
    # What serves now; while nobody has said so, what was chosen for it.
    chosen = {one["backend"] for one in model_statuses(observed) if one.get("backend")}
    backends = list(observed.backends_in_use) or sorted(chosen)
    ready = [pod for pod in serving(observed) if pod.ready and not pod.deleting]
    on = [(sum(pod.class_ == name.lower() for pod in ready), name) for name in CLASSES]
    runtime = None if before is None else before.runtime
    if findings.classes:
        runtime = findings.classes[0].chosen.name
    is_there = any(key.kind == "Service" and is_owned(one, observed.uid) for key, one in observed.children.items())
    return {
        "pipeline": shortened(pipeline_word(pipeline), MAX_WORDS),
        "url": url(pipeline) if findings.decision is not None or is_there else "",
        "backend": shortened(", ".join(backends), MAX_WORDS),
        "hardware": shortened(", ".join(f"{count} {name}" for count, name in on if count), MAX_WORDS),
        "runtime": runtime,
    }


def url(pipeline: HPIPipeline) -> str:
    """Return where a pipeline answers inside the cluster."""
    scheme = "http" if pipeline.spec.serving.tls is None else "https"
    host = f"{pipeline.metadata.name}.{pipeline.metadata.namespace or 'default'}.svc"
    port = service_port(pipeline)
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}{'' if port == usual else f':{port}'}"


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
        names = ("revision", "wantedRevision", "canary", "lastFailure", "revisions")
        return {key: kept[key] for key in names if key in kept}
    canary = decision.canary
    return {
        "revision": decision.active,
        "wantedRevision": decision.wanted.name,
        "canary": None if canary is None else canary.status.model_dump(mode="json", by_alias=True),
        "lastFailure": _last_failure(before, decision),
        "revisions": list(_revisions(observed, decision)),
    }


def _last_failure(before: PipelineStatus | None, decision: RolloutDecision) -> dict[str, Any] | None:
    """Return the last failure; while it is the same pod for the same reason, as it was told first."""
    told = None if before is None else before.last_failure
    failure = decision.failure
    if failure is not None and (
        told is None or (told.revision, told.reason, told.pod) != (decision.wanted.name, failure.reason, failure.pod)
    ):
        return _written(failure, decision.wanted.name)
    return None if told is None else told.model_dump(mode="json", by_alias=True, exclude_none=True)


def _written(failure: Failure, revision: str) -> dict[str, Any]:
    written = {
        "reason": failure.reason,
        "message": failure.message,
        "revision": revision,
        "pod": failure.pod,
        "container": failure.container,
        "exitCode": failure.exit_code,
        "time": failure.time,
    }
    return {key: value for key, value in written.items() if value is not None}


def _revisions(observed: ObservedPipeline, decision: RolloutDecision) -> Iterator[dict[str, Any]]:
    config_maps = [
        one for key, one in observed.children.items() if key.kind == "ConfigMap" and is_owned(one, observed.uid)
    ]
    known = {one.name: one for one in stored_revisions(observed.pipeline, config_maps)}
    known |= {one.name: one for one in decision.revisions()}
    limit = min(MAX_REVISIONS, observed.pipeline.spec.rollout.revision_history_limit + 2)
    in_use = {one.name for one in decision.revisions()} | {decision.active or ""}
    before = observed.pipeline.status
    # One that could not be written down yet is as old as it was told to be.
    told = {} if before is None else {one.name: one for one in before.revisions}
    chosen = sorted(known.values(), key=lambda one: (one.name not in in_use, -one.number))[:limit]
    for one in sorted(chosen, key=lambda one: -one.number):
        yield {
            "name": one.name,
            "number": one.number,
            "state": _state(one, decision, told[one.name].state if one.name in told else None),
            "createdAt": told[one.name].created_at if one.name in told else stamp(one.created_at),
        }


def _state(revision: Revision, decision: RolloutDecision, told: str | None) -> str:
    if revision.name == decision.active and (decision.state == "Complete" or told == ACTIVE):
        # One that has served alone stays what it is while it is scaled.
        return ACTIVE
    if revision.failure is not None:
        return "Failed"
    return "Progressing" if revision.name in {one.name for one in decision.revisions()} else "Retired"

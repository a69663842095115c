"""The decision for one pipeline: from everything that was observed to everything that should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from hpi_core.names import CLASS, TRACK
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.intent import Deletion, Manifest, Plan, key_of
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline_status import Findings, pipeline_status
from hpi_operator.plan.placing import Placing, place
from hpi_operator.plan.replicas import spread, waiting_too_long, wanted_replicas
from hpi_operator.plan.revisions import Revision, config_map, stored_revisions, wanted_revision, with_present
from hpi_operator.plan.rollout import RolloutDecision, RolloutObserved, decide
from hpi_operator.plan.workload.deployment import autoscaler, deployment, disruption_budget
from hpi_operator.plan.workload.exposure import cache_claim, http_route, network_policy, service, service_account
from hpi_operator.plan.workload.parts import CANARY, STABLE, ClassPlan, Owner, TrackPlan

HTTP_ROUTE: Final = "gateway.networking.k8s.io/v1 HTTPRoute"

KEPT_FOR_GOOD: Final = frozenset({"PersistentVolumeClaim"})
"""Kinds that are not deleted when nothing wants them: what they hold is the user's, and goes with the pipeline."""


def plan_pipeline(observed: ObservedPipeline, classes: Mapping[ClassName, ClassData]) -> Plan:
    """Return what should be for one pipeline.

    Where the spec or the cluster does not let anything new be made, what is there goes on serving.

    Args:
        observed: Everything that was observed.
        classes: The classes of hardware as data.
    """
    findings = Findings()
    blocked = _blocked(observed)
    if blocked is not None:
        return pipeline_status(observed, replace(findings, blocked=blocked))
    placing = place(observed, classes)
    findings = replace(findings, placing=placing)
    if not placing.classes:
        return pipeline_status(observed, findings)
    return _placed(observed, placing, findings)


def _blocked(observed: ObservedPipeline) -> tuple[str, str] | None:
    """Return reason and message of what keeps everything from being made, or None."""
    if observed.namespace_terminating:
        return "NamespaceTerminating", "the namespace is being deleted"
    if observed.problems:
        return "InvalidSpec", "; ".join(observed.problems)
    missing = sorted(str(key) for key, text in observed.references.items() if text is None)
    if missing:
        return "ReferenceMissing", f"missing: {', '.join(missing)}"
    return None


def _placed(observed: ObservedPipeline, placing: Placing, findings: Findings) -> Plan:
    owner = Owner(observed.pipeline, observed.uid, observed.pipeline.metadata.namespace or "default")
    live = _deployments(observed)
    stable = live.get(STABLE, {})
    names = [one.label for one in placing.classes]
    total = wanted_replicas(observed.pipeline, sum(_replicas(one) for one in stable.values()) if stable else None)
    stuck, following = waiting_too_long(observed.pods, observed.now, observed.settings.spill_after_seconds)
    live_counts = {name: _replicas(one) for name, one in stable.items()}
    counts = spread(names, total, live_counts, stuck, observed.pipeline.spec.placement.policy)
    decision = decide(_rollout_observed(observed, live, total))
    in_use = [one for one in placing.classes if counts[one.label] > 0 or one is placing.classes[0]]
    apply = tuple(_objects(observed, owner, in_use, counts, decision))
    waits = [seconds for seconds in (following, decision.look_again_seconds) if seconds is not None]
    findings = replace(
        findings,
        decision=decision,
        classes=tuple(in_use),
        counts=counts,
        wanted_replicas=total,
        spilled=any(counts[name] > 0 for name in names[1:]) and observed.pipeline.spec.placement.policy == "Spill",
        route_missing=observed.pipeline.spec.route is not None and HTTP_ROUTE not in observed.apis,
    )
    status = pipeline_status(observed, findings)
    return replace(
        status,
        apply=apply,
        delete=tuple(_deletions(observed, apply, in_use, total)),
        look_again_seconds=min(
            [*waits, *([status.look_again_seconds] if status.look_again_seconds else [])], default=None
        ),
    )


def _rollout_observed(
    observed: ObservedPipeline, live: Mapping[str, Mapping[str, Manifest]], total: int
) -> RolloutObserved:
    pipeline, status = observed.pipeline, observed.pipeline.status
    stored = stored_revisions(pipeline, observed.children)
    wanted = wanted_revision(pipeline, _config_text(observed), stored, observed.now)
    return RolloutObserved(
        present=pipeline,
        wanted=wanted,
        stored=stored,
        active=None if status is None else status.revision,
        canary=None if status is None or status.wanted_revision != wanted.name else status.canary,
        deployments={track: tuple(by_class.values()) for track, by_class in live.items()},
        pods=observed.pods,
        replicas=total,
        now=observed.now,
    )


def _config_text(observed: ObservedPipeline) -> str | None:
    config = observed.pipeline.spec.config
    if config is None or config.config_map_key_ref is None:
        return None
    name = config.config_map_key_ref.name
    return next(
        (text for key, text in observed.references.items() if key.kind == "ConfigMap" and key.name == name), None
    )


def _deployments(observed: ObservedPipeline) -> dict[str, dict[str, Manifest]]:
    """Return the live Deployments by track and class."""
    found: dict[str, dict[str, Manifest]] = {}
    for key, manifest in observed.children.items():
        labels = manifest["metadata"].get("labels") or {}
        if key.kind == "Deployment" and TRACK in labels and CLASS in labels:
            found.setdefault(labels[TRACK], {})[labels[CLASS]] = manifest
    return found


def _replicas(manifest: Manifest) -> int:
    replicas: int = manifest["spec"].get("replicas", 1)
    return replicas


def _objects(
    observed: ObservedPipeline,
    owner: Owner,
    classes: Sequence[ClassPlan],
    counts: Mapping[str, int],
    decision: RolloutDecision,
) -> Iterator[Manifest]:
    """Yield every object that should be: what a pod needs first, then the pods, then how they are reached."""
    pipeline = observed.pipeline
    for revision in kept_revisions(observed, decision):
        yield config_map(revision, owner.metadata(revision.config_map))
    yield service_account(owner)
    if pipeline.spec.cache.medium == "PersistentVolumeClaim" and pipeline.spec.cache.claim_name is None:
        yield cache_claim(owner, pipeline.spec.cache)
    for one in classes:
        yield deployment(_track(observed, owner, one, decision.stable, STABLE, counts[one.label]))
    if decision.canary is not None:
        yield deployment(
            _track(observed, owner, classes[0], decision.canary, CANARY, decision.canary_replicas, is_canary=True)
        )
    yield service(owner, pipeline)
    yield disruption_budget(owner, pipeline)
    if pipeline.spec.autoscaling is not None:
        yield autoscaler(owner, classes[0].label, pipeline.spec.autoscaling)
    if observed.settings.network_policies:
        yield network_policy(owner, observed.settings)
    if pipeline.spec.route is not None and HTTP_ROUTE in observed.apis:
        weight = None if decision.canary_status is None else decision.canary_status.weight_percent
        if weight is not None:
            yield service(owner, pipeline, STABLE)
            yield service(owner, pipeline, CANARY)
        yield http_route(owner, pipeline, pipeline.spec.route, weight)


def _track(
    observed: ObservedPipeline,
    owner: Owner,
    one: ClassPlan,
    revision: Revision,
    track: str,
    replicas: int,
    *,
    is_canary: bool = False,
) -> TrackPlan:
    scaled = observed.pipeline.spec.autoscaling is not None and not is_canary
    first = observed.pipeline.spec.placement.accelerators[0].class_.lower() == one.label
    # The autoscaler's replicas are never stated; where it has not written any yet, Kubernetes begins with one.
    count = None if scaled and first else replicas
    return TrackPlan(owner, revision, with_present(revision, observed.pipeline), one, track, count, observed.settings)


def kept_revisions(observed: ObservedPipeline, decision: RolloutDecision) -> tuple[Revision, ...]:
    """Return the revisions that are kept: those in use, the wanted one, and the newest up to the history limit."""
    stored = stored_revisions(observed.pipeline, observed.children)
    # The wanted one comes last: it may carry the mark of a failure that the stored one does not have yet.
    in_use = [decision.stable, *([decision.canary] if decision.canary else []), decision.wanted]
    found = {one.name: one for one in in_use}
    limit = observed.pipeline.spec.rollout.revision_history_limit
    history = [one for one in stored if one.name not in found][:limit]
    kept = {one.name: one for one in (*found.values(), *history)}
    return tuple(sorted(kept.values(), key=lambda one: (one.number, one.name)))


def _deletions(
    observed: ObservedPipeline, apply: Sequence[Manifest], classes: Sequence[ClassPlan], total: int
) -> Iterator[Deletion]:
    """Yield the pipeline's own objects that nothing wants any more; none while the picture is not whole."""
    if not observed.complete:
        return
    wanted = {key_of(manifest) for manifest in apply}
    labels = {one.label for one in classes}
    ready = sum(pod.ready and pod.class_ in labels and not pod.deleting for pod in observed.pods)
    for key in sorted(observed.children):
        manifest = observed.children[key]
        if key in wanted or key.kind in KEPT_FOR_GOOD or not is_owned(manifest, observed.uid):
            continue
        if manifest["metadata"].get("deletionTimestamp") is not None or key.kind in ("Job", "Pod"):
            continue
        # What serves goes when as many serve elsewhere.
        serves = key.kind == "Deployment" and manifest["metadata"]["labels"].get(TRACK) == STABLE
        if serves and ready < total:
            continue
        yield Deletion(key, manifest["metadata"]["uid"], "nothing wants it any more")


def is_owned(manifest: Manifest, uid: str) -> bool:
    """Return whether an object is controlled by the pipeline of a UID."""
    owners: Sequence[Mapping[str, Any]] = manifest["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == uid and owner.get("controller") for owner in owners)

"""Every object that should be for one pipeline: what a pod needs first, then the pods, then how they are reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hpi_operator.plan.intent import Manifest, ObjectKey, key_of
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.ownership import is_going, is_owned, owner_in_words
from hpi_operator.plan.placing import Scene
from hpi_operator.plan.prebuild import Prebuild
from hpi_operator.plan.revisions import Revision, config_map, with_present
from hpi_operator.plan.rollout_state import RolloutDecision
from hpi_operator.plan.workload.deployment import autoscaler, deployment, deployment_name, disruption_budget
from hpi_operator.plan.workload.exposure import cache_claim, http_route, network_policy, service, service_account
from hpi_operator.plan.workload.parts import CANARY, STABLE, ClassPlan, Owner, TrackPlan
from hpi_operator.plan.workload.storage import cache_claim_name

HTTP_ROUTE: Final = "gateway.networking.k8s.io/v1 HTTPRoute"
"""The optional API as `ObservedPipeline.apis` names it."""


@dataclass(frozen=True)
class Wanted:
    """What was decided."""

    decision: RolloutDecision
    classes: tuple[ClassPlan, ...]
    """Classes that have replicas, of the stable revision."""
    canary_class: ClassPlan | None
    counts: Mapping[str, int]
    """Replicas by class."""
    may_be_away: Mapping[str, int]
    waiting: int
    """Replicas for which others stand in."""
    scene: Scene
    stored: tuple[Revision, ...]
    ahead: Prebuild


def objects(observed: ObservedPipeline, owner: Owner, wanted: Wanted) -> Iterator[Manifest]:
    """Yield every object that should be, in the order in which they are written."""
    pipeline, decision = observed.pipeline, wanted.decision
    for revision in kept_revisions(observed, wanted):
        yield config_map(revision, owner.metadata(revision.config_map))
    yield service_account(owner)
    if pipeline.spec.cache.medium == "PersistentVolumeClaim" and pipeline.spec.cache.claim_name is None:
        yield cache_claim(owner, pipeline, own_claim(observed))
    if decision.stable is not None:
        for one in wanted.classes:
            yield deployment(_stable(observed, owner, wanted, one, decision.stable))
    if decision.canary is not None and wanted.canary_class is not None:
        revision = decision.canary.revision
        present = with_present(revision, pipeline)
        replicas = decision.canary.replicas
        yield deployment(TrackPlan(owner, revision, present, wanted.canary_class, CANARY, replicas, observed.settings))
    yield service(owner, pipeline)
    if pipeline.spec.route is not None and HTTP_ROUTE in observed.apis:
        yield service(owner, pipeline, STABLE)
        yield service(owner, pipeline, CANARY)
        weight = 0 if decision.canary is None else decision.canary.weight_percent
        yield http_route(owner, pipeline, pipeline.spec.route, weight)
    yield disruption_budget(owner, pipeline, wanted.scene.replicas, wanted.waiting)
    if pipeline.spec.autoscaling is not None and wanted.classes:
        yield autoscaler(owner, wanted.classes[0].label, pipeline.spec.autoscaling)
    if observed.settings.network_policies:
        yield network_policy(owner, observed.settings)
    yield from wanted.ahead.objects


def _stable(observed: ObservedPipeline, owner: Owner, wanted: Wanted, one: ClassPlan, revision: Revision) -> TrackPlan:
    scaled = observed.pipeline.spec.autoscaling is not None and one is wanted.classes[0]
    return TrackPlan(
        owner,
        revision,
        with_present(revision, observed.pipeline),
        one,
        STABLE,
        None if scaled and _autoscaler_holds(observed, owner, one) else wanted.counts[one.label],
        observed.settings,
        wanted.decision.stands_still,
        wanted.may_be_away.get(one.label, 0),
    )


def _autoscaler_holds(observed: ObservedPipeline, owner: Owner, one: ClassPlan) -> bool:
    """Return whether the autoscaler has written the replicas of a Deployment.

    Before it has, nobody else holds the field, and it would fall back to 1 when the operator no longer states it.

    Source:
        Kubernetes, "Server-Side Apply", "Transferring ownership"; autoscaling/v2: `status.lastScaleTime` is the last
        time that the number of pods was changed.
    """
    name = deployment_name(owner.name, one.label, STABLE)
    live = observed.children.get(ObjectKey("autoscaling/v2", "HorizontalPodAutoscaler", owner.namespace, name))
    return live is not None and bool((live.get("status") or {}).get("lastScaleTime"))


def kept_revisions(observed: ObservedPipeline, wanted: Wanted) -> tuple[Revision, ...]:
    """Return the revisions that are kept: those in use, those of live pods, and the newest up to the history limit."""
    # Those of the decision come last: they may carry the mark of a failure that the stored ones do not have yet.
    found = {one.name: one for one in wanted.decision.revisions()}
    in_use = {pod.revision for pod in observed.pods} | {one.revision for one in wanted.scene.deployments}
    others = [one for one in wanted.stored if one.name not in found]
    limit = observed.pipeline.spec.rollout.revision_history_limit
    history = {one.name for one in [one for one in others if one.name not in in_use][:limit]}
    kept = {one.name: _superseded(one) for one in others if one.name in in_use | history}
    return tuple(sorted((kept | found).values(), key=lambda one: (one.number, one.name)))


def _superseded(revision: Revision) -> Revision:
    """Return a revision that is not wanted: where it failed, it is tried anew when it is wanted again."""
    return replace(revision, superseded=revision.failure is not None)


def own_claim(observed: ObservedPipeline) -> Manifest | None:
    """Return the live claim that the operator has made; None: there is none."""
    name = cache_claim_name(observed.pipeline)
    key = ObjectKey("v1", "PersistentVolumeClaim", observed.pipeline.metadata.namespace or "default", name)
    live = observed.children.get(key)
    return live if live is not None and is_owned(live, observed.uid) else None


def taken(observed: ObservedPipeline, made: Sequence[Manifest]) -> tuple[tuple[ObjectKey, str], ...]:
    """Return objects that cannot be stated now, each with the reason in words."""
    found = []
    for manifest in made:
        key = key_of(manifest)
        live = observed.children.get(key)
        if live is None:
            continue
        if not is_owned(live, observed.uid):
            found.append((key, f"{key} is there and belongs to {owner_in_words(live)}"))
        elif is_going(live):
            found.append((key, f"{key} is being deleted; it is made anew when it has gone"))
    return tuple(found)

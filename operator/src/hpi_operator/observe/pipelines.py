"""One pipeline as its decision sees it: the object itself, read anew, and what the pictures hold of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import ActiveCount
from hpi_operator.kube.resources import CLAIMS, CONFIG_MAPS, NAMESPACES, PIPELINES, SECRETS
from hpi_operator.observe.projections import moment
from hpi_operator.observe.references import Reference, references_of
from hpi_operator.observe.world import World
from hpi_operator.plan.intent import Manifest, ObjectKey
from hpi_operator.plan.observed import MAX_EXAMPLES, ObservedPipeline, Settings

GATEWAY_ROUTE: Final = "gateway.networking.k8s.io/v1 HTTPRoute"


@dataclass(frozen=True)
class SeenPipeline:
    """A pipeline as it is stored, and what its decision looks at."""

    live: Manifest
    observed: ObservedPipeline | None
    """None where this release cannot read the object."""
    problems: tuple[str, ...] = ()


def observe_pipeline(
    world: World, namespace: str, name: str, now: datetime, settings: Settings, conflicts: tuple[str, ...]
) -> SeenPipeline | None:
    """Return everything that the decision for one pipeline looks at; None where there is no such pipeline.

    Raises:
        HpiError: The API server does not answer, or a right is missing.
    """
    live = world.api.get(PIPELINES, name, namespace)
    if live is None or live["metadata"].get("deletionTimestamp") is not None:
        world.forget((namespace, name))
        return None
    parsed, problems = _parsed(live)
    if parsed is None:
        return SeenPipeline(live, None, problems)
    children, pods = world.objects_of((namespace, name))
    hpi_nodes = world.hpi_nodes_of((namespace, name))
    active: dict[str, ActiveCount] = {}
    messages: list[str] = []
    in_use: set[str] = set()
    for node in hpi_nodes:
        for work in node.status.workloads if node.status is not None else ():
            if (work.namespace, work.pipeline) == (namespace, name):
                active[work.revision] = _sum(active.get(work.revision, ActiveCount()), work.engine_active)
                in_use |= set(work.engines)
                if work.message:
                    messages.append(f"{node.metadata.name}: {work.message}")
    engines = [one for key, one in world.engines.all().items() if key.namespace == namespace]
    references = {one.key: _text(world, one) for one in references_of(parsed, namespace)}
    place = world.api.get(NAMESPACES, namespace)
    return SeenPipeline(
        live,
        ObservedPipeline(
            pipeline=parsed,
            uid=live["metadata"]["uid"],
            generation=int(live["metadata"].get("generation", 1)),
            created_at=moment(live["metadata"].get("creationTimestamp")),
            supply=world.supply(_asked(parsed), (namespace, name)),
            runtimes=tuple(one.parsed for _, one in sorted(world.runtimes.all().items()) if one.parsed is not None),
            now=now,
            settings=settings,
            children=children,
            pods=pods,
            engine_active=active,
            engine_messages=tuple(sorted(messages)[:MAX_EXAMPLES]),
            engines_in_use=tuple(sorted(in_use)),
            engines=tuple(one.parsed for one in engines if one.parsed is not None),
            references=references,
            apis=frozenset([GATEWAY_ROUTE]) if world.routes is not None else frozenset(),
            namespace_terminating=place is not None and place["metadata"].get("deletionTimestamp") is not None,
            complete=world.is_whole,
            apply_conflicts=conflicts,
        ),
    )


def _parsed(live: Manifest) -> tuple[HPIPipeline | None, tuple[str, ...]]:
    metadata = {"name": live["metadata"]["name"], "namespace": live["metadata"]["namespace"]}
    written = {key: live[key] for key in ("apiVersion", "kind", "spec", "status") if key in live}
    try:
        return HPIPipeline.model_validate({**written, "metadata": metadata}), ()
    except ValidationError as error:
        # An object that an older or newer release's schema let in.
        return None, tuple(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))


def _asked(pipeline: HPIPipeline) -> frozenset[str]:
    asked = set(pipeline.spec.pod_template.node_selector)
    for one in pipeline.spec.placement.accelerators:
        asked |= set(one.requirements.node_selector)
    return frozenset(asked)


def _text(world: World, reference: Reference) -> str | None:
    key = reference.key
    resource = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS, "PersistentVolumeClaim": CLAIMS}[key.kind]
    found = world.api.get(resource, key.name, key.namespace)
    if found is None:
        return None
    if reference.field is None:
        return ""
    text: str | None = (found.get("data") or {}).get(reference.field)
    return text


def _sum(one: ActiveCount, other: ActiveCount) -> ActiveCount:
    return ActiveCount(
        measured=one.measured + other.measured,
        provisional=one.provisional + other.provisional,
        fallback=one.fallback + other.fallback,
        building=one.building + other.building,
    )


def key_of_pipeline(namespace: str, name: str) -> ObjectKey:
    """Return what names a pipeline."""
    return ObjectKey(PIPELINES.api_version, PIPELINES.kind, namespace, name)

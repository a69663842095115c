"""One pipeline as its decision sees it: the object itself, read anew, and what the pictures hold of its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import ActiveCount
from hpi_operator.kube.resources import CLAIMS, CONFIG_MAPS, NAMESPACES, PIPELINES, SECRETS
from hpi_operator.observe.index import Pipeline
from hpi_operator.observe.projections import moment
from hpi_operator.observe.reading import read
from hpi_operator.observe.references import Reference, references_of
from hpi_operator.observe.world import World
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import MAX_EXAMPLES, ObservedPipeline, Settings

GATEWAY_ROUTE: Final = "gateway.networking.k8s.io/v1 HTTPRoute"


@dataclass(frozen=True)
class ReadPipeline:
    """A pipeline as it is stored."""

    live: Manifest
    parsed: HPIPipeline | None
    """None where this release cannot read it."""
    problems: tuple[str, ...] = ()
    """Why it cannot be read."""

    @property
    def uid(self) -> str:
        """Its UID."""
        uid: str = self.live["metadata"]["uid"]
        return uid

    @property
    def generation(self) -> int:
        """Generation of its spec."""
        return int(self.live["metadata"].get("generation", 1))


@dataclass(frozen=True)
class _Reported:
    """What the agents say of a pipeline's pods."""

    active: Mapping[str, ActiveCount]
    messages: tuple[str, ...]
    engines: tuple[str, ...]
    backends: tuple[str, ...]


def read_pipeline(world: World, namespace: str, name: str) -> ReadPipeline | None:
    """Return a pipeline as it is stored now; None where there is none, or it is being deleted.

    Raises:
        HpiError: The API server does not answer, or a right is missing.
    """
    live = world.api.get(PIPELINES, name, namespace)
    if live is None or live["metadata"].get("deletionTimestamp") is not None:
        return None
    parsed, problems = read(HPIPipeline, live)
    if parsed is None:
        # A status that cannot be read is one to write anew, and no reason to leave the pipeline alone.
        without_status = {key: value for key, value in live.items() if key != "status"}
        parsed = read(HPIPipeline, without_status)[0]
    return ReadPipeline(live, parsed, () if parsed is not None else problems)


def observe_pipeline(
    world: World, stored: Manifest, pipeline: HPIPipeline, now: datetime, settings: Settings
) -> ObservedPipeline:
    """Return everything that the decision for one pipeline looks at.

    Raises:
        HpiError: The API server does not answer, or a right is missing.
    """
    metadata = stored["metadata"]
    namespace: str = metadata["namespace"]
    name: Pipeline = (namespace, metadata["name"])
    reported = _reported(name, world.reports_on(name))
    view = world.pictures.namespaces.get(NAMESPACES.key(namespace))
    runtimes = sorted(world.pictures.runtimes.all().items())
    return ObservedPipeline(
        pipeline=pipeline,
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        created_at=moment(metadata.get("creationTimestamp")),
        supply=world.supply.of(name, _asked(pipeline)),
        runtimes=tuple(one.parsed for _, one in runtimes if one.parsed is not None),
        now=now,
        settings=settings,
        children=world.objects_of(name),
        pods=world.pods_of(name),
        engine_active=reported.active,
        engine_messages=reported.messages,
        engines_in_use=reported.engines,
        backends_in_use=reported.backends,
        engines=tuple(one.parsed for one in world.engines_in(namespace) if one.parsed is not None),
        references={one.key: _text(world, one) for one in references_of(pipeline, namespace)},
        apis=frozenset([GATEWAY_ROUTE]) if world.pictures.routes is not None else frozenset(),
        namespace_terminating=view is not None and view.is_ending,
        pod_security="" if view is None else view.pod_security,
    )


def _reported(pipeline: Pipeline, hpi_nodes: tuple[HPINode, ...]) -> _Reported:
    active: dict[str, ActiveCount] = {}
    messages: list[str] = []
    engines: set[str] = set()
    backends: set[str] = set()
    for node in hpi_nodes:
        for work in node.status.workloads if node.status is not None else ():
            if (work.namespace, work.pipeline) == pipeline:
                active[work.revision] = _sum(active.get(work.revision, ActiveCount()), work.engine_active)
                engines |= set(work.engines)
                backends |= set(work.backends)
                if work.message:
                    messages.append(f"{node.metadata.name}: {work.message}")
    return _Reported(active, tuple(sorted(messages)[:MAX_EXAMPLES]), tuple(sorted(engines)), tuple(sorted(backends)))


def _asked(pipeline: HPIPipeline) -> frozenset[str]:
    asked = set(pipeline.spec.pod_template.node_selector)
    for one in pipeline.spec.placement.accelerators:
        asked |= set(one.requirements.node_selector)
    return frozenset(asked)


def _text(world: World, reference: Reference) -> str | None:
    key = reference.key
    resource = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS, "PersistentVolumeClaim": CLAIMS}[key.kind]
    # What a Secret holds is none of the operator's business: whether it is there is enough.
    found = world.api.get(resource, key.name, key.namespace, metadata_only=key.kind == "Secret")
    if found is None:
        return None
    if key.kind == "PersistentVolumeClaim":
        return ",".join(found["spec"].get("accessModes") or ())
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

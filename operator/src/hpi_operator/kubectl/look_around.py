"""What is read for each report: the object that was asked for, then what is around it, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from hpi_core.errors import Refused
from hpi_core.names import OPERATOR_NAMESPACE, PART, PIPELINE, RESOLUTION
from hpi_operator.kube.resources import (
    DEPLOYMENTS,
    ENGINES,
    HPI_NODES,
    JOBS,
    LEASES,
    NODES,
    PIPELINES,
    PODS,
    RUNTIMES,
    Resource,
)
from hpi_operator.kubectl.reader import Reader
from hpi_operator.kubectl.reports.causes import MAX_SHOWN
from hpi_operator.kubectl.reports.documents import (
    Document,
    conditions,
    is_behind,
    labels_of,
    listed,
    name_of,
    namespace_of,
    part,
)
from hpi_operator.kubectl.reports.pod_causes import pods_to_tell
from hpi_operator.kubectl.reports.sight import Sight
from hpi_operator.plan.workload.build_job import RESOLUTIONS
from hpi_operator.rights import LEASE

CORE_EVENTS = Resource("v1", "Event", "events")
"""Under the API that Kubernetes' own role `view` may read, and in which every writer's events are found."""


@dataclass(frozen=True)
class Scope:
    """Where it is looked."""

    namespace: str
    """The namespace that was named, or that of the context."""
    everywhere: bool = False
    """Whether every namespace is meant."""
    operator: str = OPERATOR_NAMESPACE
    """Namespace of the operator."""

    @property
    def listed(self) -> str | None:
        """The namespace of a list; None: all."""
        return None if self.everywhere else self.namespace


def now() -> datetime:
    """Return the time."""
    return datetime.now(timezone.utc)


def find_pipeline(reader: Reader, scope: Scope, name: str) -> Document:
    """Return the pipeline of a name.

    Raises:
        Refused: There is none, or with -A there are several.
    """
    if not scope.everywhere:
        return reader.one(PIPELINES, name, scope.namespace)
    found = reader.all(PIPELINES, None, fields=f"metadata.name={name}")
    if len(found) > 1:
        namespaces = ", ".join(sorted(namespace_of(one) for one in found))
        raise Refused(f"there is an HPIPipeline {name} in each of {namespaces}: say which with -n")
    if not found:
        # For the nearest names.
        return reader.one(PIPELINES, name, scope.namespace)
    return found[0]


def around_pipeline(reader: Reader, pipeline: Document) -> Sight:
    """Return what `status NAME` looks at."""
    name, namespace = name_of(pipeline), namespace_of(pipeline)
    mine = f"{PIPELINE}={name}"
    pods = reader.some(PODS, namespace, labels=mine)
    deployments = reader.some(DEPLOYMENTS, namespace, labels=mine)
    hpi_nodes = _under(reader, pods)
    ahead = _built_ahead(reader, pipeline)
    engines = reader.named(ENGINES, engines_of(pipeline, hpi_nodes) | ahead, namespace)
    return Sight(
        now=now(),
        pipeline=pipeline,
        pods=pods,
        deployments=deployments,
        engines=engines,
        hpi_nodes=hpi_nodes,
        unseen=tuple(reader.unseen),
    )


def around_choice(reader: Reader, pipeline: Document) -> Sight:
    """Return what `explain NAME` looks at."""
    namespace = namespace_of(pipeline)
    named = {str(one["engine"]) for one in listed(pipeline, "status", "models") if one.get("engine")}
    engines = reader.named(ENGINES, named | _built_ahead(reader, pipeline), namespace)
    return Sight(
        now=now(),
        pipeline=pipeline,
        engines=engines,
        hpi_nodes=_under(reader, reader.some(PODS, namespace, labels=f"{PIPELINE}={name_of(pipeline)}")),
        runtimes=reader.some(RUNTIMES, None),
        unseen=tuple(reader.unseen),
    )


def around_trouble(reader: Reader, pipeline: Document, scope: Scope) -> Sight:
    """Return what `why pipeline/NAME` looks at."""
    seen = around_pipeline(reader, pipeline)
    hpi_nodes, runtimes = dict(seen.hpi_nodes), []
    placed = conditions(pipeline).get("Placed")
    if placed is not None and placed.reason == "RuntimeNotUsable":
        runtimes = reader.some(RUNTIMES, None)
        # Which nodes a self-test failed on, nobody but all of them can tell.
        hpi_nodes |= {name_of(one): one for one in reader.some(HPI_NODES, None)}
    told = [pod for pod, _, _ in pods_to_tell(seen.pods)[:MAX_SHOWN]]
    events = {}
    for pod in told:
        uid = str(part(pod, "metadata").get("uid"))
        fields = f"involvedObject.uid={uid},type=Warning"
        events[uid] = sorted(reader.some(CORE_EVENTS, namespace_of(pipeline), fields=fields), key=_date)
    lease = reader.find(LEASES, LEASE, scope.operator) if is_behind(pipeline) else None
    return replace(
        seen,
        now=now(),
        hpi_nodes=hpi_nodes,
        runtimes=runtimes,
        events=events,
        lease=lease,
        operator_namespace=scope.operator,
        unseen=tuple(reader.unseen),
    )


def around_node(reader: Reader, name: str, scope: Scope) -> Sight:
    """Return what `why node/NAME` looks at.

    Raises:
        Refused: There is neither an HPINode nor a Node of that name.
    """
    hpi_node, node = reader.find(HPI_NODES, name), reader.find(NODES, name)
    if hpi_node is None and node is None:
        # It says which is the nearest, or which right is missing.
        hpi_node = reader.one(HPI_NODES, name)
    lease = None
    if hpi_node is None:
        lease = reader.find(LEASES, LEASE, scope.operator)
    return Sight(
        now=now(),
        nodes={} if node is None else {name: node},
        hpi_nodes={} if hpi_node is None else {name: hpi_node},
        lease=lease,
        operator_namespace=scope.operator,
        unseen=tuple(reader.unseen),
    )


def engines_of(pipeline: Document, hpi_nodes: dict[str, Document]) -> set[str]:
    """Return the HPIEngines that a pipeline's status or its pods' agents name."""
    found = {str(one["engine"]) for one in listed(pipeline, "status", "models") if one.get("engine")}
    mine = namespace_of(pipeline), name_of(pipeline)
    for hpi_node in hpi_nodes.values():
        for work in listed(hpi_node, "status", "workloads"):
            if (work.get("namespace"), work.get("pipeline")) == mine:
                found |= {str(one) for one in work.get("engines") or ()}
    return found


def _under(reader: Reader, pods: Iterable[Document]) -> dict[str, Document]:
    """Return the HPINodes that pods are on, whose agents tell what serves."""
    return reader.named(HPI_NODES, {str(node) for pod in pods if (node := part(pod, "spec").get("nodeName"))})


def _built_ahead(reader: Reader, pipeline: Document) -> set[str]:
    """Return the HPIEngines that Jobs of the pipeline build, or have built, before a pod uses them."""
    labels = f"{PIPELINE}={name_of(pipeline)},{PART}=prebuild"
    jobs = reader.some(JOBS, namespace_of(pipeline), labels=labels)
    found: set[str] = set()
    for job in jobs:
        found |= set(str(part(job, "metadata", "annotations").get(RESOLUTIONS, "")).split(","))
        found.add(str(labels_of(job).get(RESOLUTION, "")))
    return found - {""}


def _date(event: Document) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")

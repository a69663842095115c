"""Objects as they are kept: what decisions look at, and no more; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.moments import read_moment
from hpi_core.names import CLASS, PIPELINE, REVISION, TRACK
from hpi_operator.observe.reading import read
from hpi_operator.plan.delivery import ENFORCE
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import NodeView, PodView, Taint

MAX_MESSAGE: Final = 512


@dataclass(frozen=True)
class Kept:
    """One object of ours: parsed, and as it is stored."""

    uid: str
    created_at: datetime
    generation: int
    live: Manifest
    """Without managed fields."""
    parsed: Any
    """The pydantic model; None where this release cannot read the object."""
    problem: str = ""
    """Why it cannot be read."""


def moment(written: str | None) -> datetime:
    """Return a moment that Kubernetes wrote."""
    return read_moment(written or "1970-01-01T00:00:00Z")


def child(manifest: Manifest) -> Manifest:
    """Return an object of a pipeline; of its metadata, what changes at every write is left out."""
    metadata = {
        key: value for key, value in manifest["metadata"].items() if key not in ("managedFields", "resourceVersion")
    }
    return {**manifest, "metadata": metadata}


def node(manifest: Manifest) -> NodeView:
    """Return a Node as decisions look at it."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    ready = next((one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"), "Unknown")
    return NodeView(
        name=metadata["name"],
        uid=metadata["uid"],
        labels=metadata.get("labels") or {},
        allocatable={
            name: int(value)
            for name, value in sorted((status.get("allocatable") or {}).items())
            if "/" in name and str(value).isdigit()
        },
        taints=tuple(
            Taint(one["key"], one.get("value") or "", one["effect"])
            for one in spec.get("taints") or ()
            # What the node controller adds to a node that is away is told by `ready`.
            if not one["key"].startswith("node.kubernetes.io/")
        ),
        ready=ready == "True",
        unschedulable=bool(spec.get("unschedulable")),
    )


def pod(manifest: Manifest) -> PodView:
    """Return a pod of a pipeline as decisions look at it."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    shown = next((one for one in containers if not one.get("ready")), containers[0] if containers else {})
    waiting = (shown.get("state") or {}).get("waiting") or {}
    ended = (shown.get("state") or {}).get("terminated") or (shown.get("lastState") or {}).get("terminated") or {}
    scheduled = conditions.get("PodScheduled", {})
    waits = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    message = ended.get("message") or waiting.get("message") or (scheduled.get("message") if waits else "") or ""
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        revision=labels.get(REVISION, ""),
        class_=labels.get(CLASS, ""),
        track=labels.get(TRACK, ""),
        node=(manifest.get("spec") or {}).get("nodeName"),
        phase=status.get("phase", "Pending"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        created_at=moment(metadata.get("creationTimestamp")),
        restarts=sum(int(one.get("restartCount", 0)) for one in containers),
        waiting_reason=waiting.get("reason"),
        message=message.strip()[-MAX_MESSAGE:],
        container=shown.get("name"),
        exit_code=ended.get("exitCode"),
        unschedulable_since=moment(scheduled.get("lastTransitionTime")) if waits else None,
        scheduled_at=_since(scheduled),
        ready_at=_since(conditions.get("Ready", {})),
        deleting=metadata.get("deletionTimestamp") is not None,
    )


def _since(condition: Mapping[str, Any]) -> datetime | None:
    """Return since when a condition holds; None: it does not, or nobody says."""
    date = condition.get("lastTransitionTime")
    return moment(date) if condition.get("status") == "True" and date else None


@dataclass(frozen=True)
class LabelledPod:
    """A pod and the pipeline that it belongs to."""

    pipeline: str | None
    view: PodView


def labelled_pod(manifest: Manifest) -> LabelledPod:
    """Return a pod with the pipeline that it belongs to."""
    return LabelledPod(pipeline_of(manifest), pod(manifest))


def pipeline_of(manifest: Manifest) -> str | None:
    """Return the pipeline that an object belongs to."""
    name: str | None = (manifest["metadata"].get("labels") or {}).get(PIPELINE)
    return name


def kept(model: type[HPIEngine] | type[HPINodePool] | type[HPIRuntime], manifest: Manifest) -> Kept:
    """Return one of our own objects, parsed; one that this release cannot read keeps its problem."""
    parsed, problems = read(model, manifest)
    return _kept(manifest, child(manifest), parsed, problems)


def hpi_node(manifest: Manifest) -> Kept:
    """Return an HPINode, parsed; of what is stored, its status is left out: it is long, and its agent's alone."""
    parsed, problems = read(HPINode, manifest, tolerant=("spec", "status"))
    live = {key: value for key, value in child(manifest).items() if key != "status"}
    return _kept(manifest, live, parsed, problems)


def _kept(manifest: Manifest, live: Manifest, parsed: Any, problems: tuple[str, ...]) -> Kept:
    metadata = manifest["metadata"]
    created_at, generation = moment(metadata.get("creationTimestamp")), int(metadata.get("generation", 1))
    return Kept(metadata["uid"], created_at, generation, live, parsed, "; ".join(problems))


@dataclass(frozen=True)
class NamespaceView:
    """A namespace as decisions look at it."""

    is_ending: bool
    pod_security: str
    """Level of Pod Security that it enforces; empty: none is named."""


def namespace(manifest: Manifest) -> NamespaceView:
    """Return a namespace as decisions look at it."""
    return NamespaceView(is_ending(manifest), (manifest["metadata"].get("labels") or {}).get(ENFORCE, ""))


def is_ending(manifest: Manifest) -> bool:
    """Return whether an object is being deleted."""
    return manifest["metadata"].get("deletionTimestamp") is not None


def node_of_test(manifest: Manifest) -> str | None:
    """Return the node that a self-test pod belongs to."""
    owners = manifest["metadata"].get("ownerReferences") or ()
    name: str | None = next((one["name"] for one in owners if one.get("kind") == "Node"), None)
    return name

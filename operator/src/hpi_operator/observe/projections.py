"""Objects as they are kept: what decisions look at, and no more; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import CLASS, PIPELINE, REVISION, TRACK
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import NodeView, PodView, Taint

MEMORY_UNITS: Final = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}
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
    return datetime.fromisoformat((written or "1970-01-01T00:00:00Z").replace("Z", "+00:00"))


def whole(manifest: Manifest) -> Manifest:
    """Return an object without its managed fields, which are longer than the rest and decide nothing."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in ("managedFields", "selfLink")}
    return {**manifest, "metadata": metadata}


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
        allocatable=_allocatable(status.get("allocatable") or {}),
        taints=tuple(
            Taint(one["key"], one.get("value") or "", one["effect"])
            for one in spec.get("taints") or ()
            # What the node controller adds to a node that is away is told by `ready`.
            if not one["key"].startswith("node.kubernetes.io/")
        ),
        ready=ready == "True",
        unschedulable=bool(spec.get("unschedulable")),
    )


def _allocatable(written: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for name, value in sorted(written.items()):
        if name == "cpu":
            found[name] = int(value[:-1]) if value.endswith("m") else int(float(value) * 1000)
        elif name == "memory":
            found[name] = memory_bytes(value)
        elif "/" in name and value.isdigit():
            found[name] = int(value)
    return found


def memory_bytes(quantity: str) -> int:
    """Return a quantity of memory in bytes."""
    for unit, factor in MEMORY_UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity[: -len(unit)]) * factor)
    return int(float(quantity))


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
        deleting=metadata.get("deletionTimestamp") is not None,
    )


def pipeline_of(manifest: Manifest) -> str | None:
    """Return the pipeline that an object belongs to."""
    name: str | None = (manifest["metadata"].get("labels") or {}).get(PIPELINE)
    return name


def kept(model: type[HPIEngine] | type[HPINode] | type[HPINodePool] | type[HPIRuntime], manifest: Manifest) -> Kept:
    """Return one of our own objects, parsed.

    Metadata that the API server adds is left out; an object that this release cannot read keeps its problem.
    """
    metadata = manifest["metadata"]
    name = {"name": metadata["name"], **({"namespace": metadata["namespace"]} if "namespace" in metadata else {})}
    written = {key: manifest[key] for key in ("apiVersion", "kind", "spec", "status") if key in manifest}
    parsed, problem = None, ""
    try:
        parsed = model.model_validate({**written, "metadata": name})
    except ValidationError as error:
        problem = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)[:3]
        )
    return Kept(
        metadata["uid"],
        moment(metadata.get("creationTimestamp")),
        int(metadata.get("generation", 1)),
        child(manifest),
        parsed,
        problem,
    )

"""The Deployments of a pipeline that are there, as decisions look at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hpi_core.names import CLASS, REVISION, RUNTIME, TRACK
from hpi_operator.plan.intent import Manifest, ObjectKey
from hpi_operator.plan.ownership import is_going, is_owned
from hpi_operator.plan.placement import ARCHITECTURE
from hpi_operator.plan.runtime_choice import RuntimeRecord
from hpi_operator.plan.selection import Term, present_terms

PROGRESS_DEADLINE = "ProgressDeadlineExceeded"


@dataclass(frozen=True)
class Present:
    """One live Deployment."""

    key: ObjectKey
    track: str
    class_: str
    """Class of hardware, in lower case."""
    revision: str | None
    replicas: int
    runtime: RuntimeRecord | None
    """The runtime of its pods; None: somebody else has made it."""
    resources: frozenset[str]
    """Extended resources that its pods ask for."""
    terms: frozenset[Term]
    """Labels of nodes that its pods ask for."""
    may_be_away: int
    """Pods that its controller may take away before others answer."""
    is_settled: bool
    """Whether its controller has seen what it asks for, and all its pods are of the present template."""
    deadline_exceeded: bool
    """Whether its controller has seen no progress for too long."""


def present_deployments(children: Mapping[ObjectKey, Manifest], uid: str) -> tuple[Present, ...]:
    """Return the pipeline's own Deployments that are there and not being deleted, in an order of their names."""
    found = (
        _present(key, manifest)
        for key, manifest in sorted(children.items())
        if key.kind == "Deployment" and is_owned(manifest, uid) and not is_going(manifest)
    )
    return tuple(one for one in found if one is not None)


def of_track(deployments: Iterable[Present], track: str) -> dict[str, Present]:
    """Return the Deployments of one track by class."""
    return {one.class_: one for one in deployments if one.track == track}


def _present(key: ObjectKey, manifest: Manifest) -> Present | None:
    labels = manifest["metadata"].get("labels") or {}
    if TRACK not in labels or CLASS not in labels:
        return None
    template = manifest["spec"]["template"]
    metadata, spec = template.get("metadata") or {}, template["spec"]
    container: Mapping[str, Any] = next(iter(spec.get("containers") or ({},)), {})
    runtime = (metadata.get("annotations") or {}).get(RUNTIME)
    image = container.get("image")
    record = None
    if runtime is not None and image is not None:
        record = RuntimeRecord(runtime, image, (spec.get("nodeSelector") or {}).get(ARCHITECTURE))
    limits = (container.get("resources") or {}).get("limits") or {}
    return Present(
        key=key,
        track=labels[TRACK],
        class_=labels[CLASS],
        revision=(metadata.get("labels") or {}).get(REVISION),
        replicas=manifest["spec"].get("replicas", 1),
        runtime=record,
        resources=frozenset(name for name in limits if "/" in name),
        terms=present_terms(spec),
        may_be_away=_may_be_away(manifest["spec"]),
        is_settled=_is_settled(manifest),
        deadline_exceeded=_deadline_exceeded(manifest),
    )


def _may_be_away(spec: Mapping[str, Any]) -> int:
    """Return the bound in pods; any that we did not write, such as a percentage or none at all, may be every pod."""
    written = ((spec.get("strategy") or {}).get("rollingUpdate") or {}).get("maxUnavailable")
    return written if isinstance(written, int) else int(spec.get("replicas", 1))


def _is_observed(manifest: Manifest) -> bool:
    seen: int = (manifest.get("status") or {}).get("observedGeneration", 0)
    return seen >= int(manifest["metadata"].get("generation", 0))


def _is_settled(manifest: Manifest) -> bool:
    status: Mapping[str, Any] = manifest.get("status") or {}
    wanted = manifest["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    return _is_observed(manifest) and updated >= wanted and status.get("replicas", 0) == updated


def _deadline_exceeded(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return _is_observed(manifest) and any(
        one["type"] == "Progressing" and one["status"] == "False" and one.get("reason") == PROGRESS_DEADLINE
        for one in conditions
    )

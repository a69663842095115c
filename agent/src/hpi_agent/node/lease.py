"""The Lease of a resolution as a document: whose it is, until when, and what takes, renews or gives it; pure.

    metadata.name, label resolution      name of the resolution
    metadata.annotations                 the pod that builds, and its HPIEngine: an agent that is killed and comes back
                                         goes on with them; and what was chosen last on busy cores, which stays when
                                         the Lease is given back
    spec.holderIdentity                  node of the agent
    spec.leaseTransitions                changes of the holder, which tell one right to build from a later one

Times are the writers' own. A clock that is wrong costs a question: the API server's policy takes no Lease from a holder
that lives, by its own clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from hpi_core.api.base import GROUP
from hpi_core.digest import PATTERN
from hpi_core.moments import fine_stamp, read_moment
from hpi_core.names import RESOLUTION

Document = dict[str, Any]

LEASE_SECONDS: Final = 60
"""How long a right to build lasts without a word of the pod: whoever dies holds up its resolution for no longer."""

POD: Final = f"{GROUP}/pod"
"""Annotation: UID of the pod that builds."""
ENGINE: Final = f"{GROUP}/engine"
"""Annotation: name of the HPIEngine of the resolution, where there is one."""
CHOSEN_BEFORE: Final = f"{GROUP}/chosen-before"
"""Annotation: key of the engine that a pod chose last while others kept its cores busy."""


@dataclass(frozen=True)
class Holding:
    """Who has a Lease."""

    node: str
    """Empty: nobody."""
    pod_uid: str
    engine: str
    """Name of the HPIEngine; empty: none."""
    transitions: int
    expires_at: datetime
    chosen_before: str | None = None
    """Key of the engine that was chosen last on busy cores; None: none was, or the choice is final."""

    def is_live(self, now: datetime) -> bool:
        """Return whether somebody has it at a moment."""
        return bool(self.node) and now < self.expires_at

    def is_of(self, node: str, pod_uid: str) -> bool:
        """Return whether a pod on a node has it, or had it last and nobody else since."""
        return (self.node, self.pod_uid) == (node, pod_uid)


def read_lease(lease: Mapping[str, Any]) -> Holding:
    """Return who has a Lease; one whose times cannot be read has expired."""
    spec = lease.get("spec") or {}
    annotations = lease["metadata"].get("annotations") or {}
    chosen_before = str(annotations.get(CHOSEN_BEFORE, ""))
    try:
        expires_at = read_moment(str(spec["renewTime"])) + timedelta(seconds=int(spec.get("leaseDurationSeconds") or 0))
    except (KeyError, ValueError, OverflowError):
        expires_at = datetime.min.replace(tzinfo=timezone.utc)
    return Holding(
        str(spec.get("holderIdentity") or ""),
        str(annotations.get(POD, "")),
        str(annotations.get(ENGINE, "")),
        int(spec.get("leaseTransitions") or 0),
        expires_at,
        chosen_before if PATTERN.fullmatch(chosen_before) else None,
    )


def new_lease(namespace: str, name: str, node: str, pod_uid: str, engine: str, now: datetime) -> Document:
    """Return a Lease that was not there before."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {RESOLUTION: name},
            "annotations": {POD: pod_uid, ENGINE: engine},
        },
        "spec": {
            "holderIdentity": node,
            "acquireTime": fine_stamp(now),
            "renewTime": fine_stamp(now),
            "leaseDurationSeconds": LEASE_SECONDS,
            "leaseTransitions": 0,
        },
    }


def taken(lease: Mapping[str, Any], node: str, pod_uid: str, engine: str, now: datetime) -> Document:
    """Return the change by which a Lease that is free, or has expired, becomes a pod's.

    Among pods of one node the holder does not change, and the policy lets the count be what it was.
    """
    before = read_lease(lease)
    change = {
        "holderIdentity": node,
        "acquireTime": fine_stamp(now),
        "renewTime": fine_stamp(now),
        "leaseDurationSeconds": LEASE_SECONDS,
        "leaseTransitions": before.transitions + (before.node != node),
    }
    return _change(lease, change, {POD: pod_uid, ENGINE: engine})


def renewed(lease: Mapping[str, Any], now: datetime) -> Document:
    """Return the change by which a holder keeps a Lease."""
    return _change(lease, {"renewTime": fine_stamp(now), "leaseDurationSeconds": LEASE_SECONDS})


def released(lease: Mapping[str, Any], now: datetime) -> Document:
    """Return the change by which a holder gives a Lease back."""
    change = {"holderIdentity": "", "renewTime": fine_stamp(now), "leaseDurationSeconds": 1}
    return _change(lease, change, {POD: None, ENGINE: None})


def decided(lease: Mapping[str, Any], now: datetime, chosen_before: str | None) -> Document:
    """Return the change by which a holder that has decided gives a Lease back.

    Args:
        lease: As it was read.
        now: The time.
        chosen_before: Key of the engine of a provisional choice; None: the choice is final.
    """
    change = released(lease, now)
    change["metadata"]["annotations"][CHOSEN_BEFORE] = chosen_before
    return change


def _change(lease: Mapping[str, Any], spec: Document, annotations: Mapping[str, str | None] | None = None) -> Document:
    # With the version that was read: of two that change it at once, one is refused.
    metadata: Document = {"resourceVersion": lease["metadata"]["resourceVersion"]}
    if annotations is not None:
        metadata["annotations"] = dict(annotations)
    return {"metadata": metadata, "spec": spec}

"""The Lease of a resolution: whoever holds it builds, and nobody else."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final

from hpi_core.names import AGENT_FIELD_MANAGER, RESOLUTION
from support.cluster_client import ApiError, ClusterClient
from support.manifests import Document
from support.mirror import Key

MANAGER: Final = {"fieldManager": AGENT_FIELD_MANAGER}
"""The admission policy on Leases reads the API server's time from what this manager changed."""


class ResolutionLeases:
    """Leases of one set of agents; each call is one agent's."""

    def __init__(self, client: ClusterClient, seconds: int) -> None:
        """Hold none.

        Args:
            client: The connection.
            seconds: How long a Lease is its holder's without a renewal.
        """
        self._client = client
        self.seconds: Final = seconds
        self._held: dict[tuple[str, Key], Document] = {}

    def holds(self, node: str, key: Key) -> bool:
        """Return whether a node's agent holds the Lease of a resolution, as far as it knows."""
        return (node, key) in self._held

    def acquire(self, node: str, key: Key) -> bool:
        """Take the Lease, or renew it; return whether the agent holds it now. Nobody loses it before it expires."""
        path, now = lease_path(key[0]), datetime.now(timezone.utc)
        held = self._held.get((node, key))
        if held is not None and now < _expiry(held["spec"]) - timedelta(seconds=self.seconds * 2 / 3):
            return True
        lease = self._client.find(f"{path}/{key[1]}")
        try:
            if lease is None:
                self._held[node, key] = self._client.request("POST", path, self._lease(node, key, now), query=MANAGER)
                return True
            spec = lease["spec"]
            holder = spec.get("holderIdentity") or ""
            if holder not in ("", node) and now < _expiry(spec):
                self._held.pop((node, key), None)
                return False
            if holder != node:
                spec |= {"acquireTime": _micro(now), "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
            spec |= {"holderIdentity": node, "renewTime": _micro(now), "leaseDurationSeconds": self.seconds}
            # With the version that was read: of two that take it at once, one is refused.
            self._held[node, key] = self._client.request("PUT", f"{path}/{key[1]}", lease, query=MANAGER)
        except ApiError as error:
            if error.code != 409:
                raise
            self._held.pop((node, key), None)
            return False
        return True

    def release(self, node: str, key: Key) -> None:
        """Give the Lease back at once, unless somebody else has it by now."""
        lease = self._held.pop((node, key))
        now = _micro(datetime.now(timezone.utc))
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
        try:
            self._client.request("PUT", f"{lease_path(key[0])}/{key[1]}", lease, query=MANAGER)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def forget(self, node: str) -> None:
        """Let every Lease of a node expire: its agent is dead."""
        self._held = {held: lease for held, lease in self._held.items() if held[0] != node}

    def _lease(self, node: str, key: Key, now: datetime) -> Document:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": key[1], "namespace": key[0], "labels": {RESOLUTION: key[1]}},
            "spec": {
                "holderIdentity": node,
                "acquireTime": _micro(now),
                "renewTime": _micro(now),
                "leaseDurationSeconds": self.seconds,
                "leaseTransitions": 0,
            },
        }


def lease_path(namespace: str) -> str:
    """Return the path of a namespace's Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def _expiry(spec: Document) -> datetime:
    renewed = datetime.fromisoformat(str(spec["renewTime"]).replace("Z", "+00:00"))
    return renewed + timedelta(seconds=spec["leaseDurationSeconds"])


def _micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

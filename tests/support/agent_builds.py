"""Builds as node agents see to them: the Lease first, then what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Literal

from hpi_core.api.base import API_VERSION, GROUP
from hpi_core.names import AGENT_FIELD_MANAGER
from support.agent_decisions import building, decided, failed, is_decided
from support.cluster_client import ClusterClient
from support.manifests import Document
from support.mirror import Key
from support.resolution_lease import ResolutionLeases

Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class Order:
    """One build that somebody on a node waits for."""

    engine: Key
    identifier: str
    """What tells this order from an earlier one: UID of the pod, or the moment of the question."""
    phase: Phase
    message: str = ""
    """Why it failed."""


class Builds:
    """The builds of one set of agents."""

    def __init__(self, client: ClusterClient, lease_seconds: int, wake: Callable[[str, float], None]) -> None:
        """Begin with none.

        Args:
            client: The connection.
            lease_seconds: How long a Lease is its holder's without a renewal.
            wake: Has a node looked at after so many seconds.
        """
        self._client = client
        self._wake = wake
        self.leases: Final = ResolutionLeases(client, lease_seconds)
        self._begun: dict[tuple[str, Key], datetime] = {}
        self._over: set[tuple[str, str]] = set()
        self.failing: dict[Key, str] = {}
        """Builds that fail, whatever their pods say, with the message."""

    def advance(self, node: str, order: Order, seen: Document, driver: str | None) -> None:
        """Take the Lease, keep it, and say how the build ended; who does not get the Lease looks again later.

        Args:
            node: Whose agent.
            order: What somebody on the node waits for.
            seen: The HPIEngine.
            driver: Version of the node's driver.
        """
        key = order.engine
        if (node, order.identifier) in self._over:
            return
        if is_decided(seen):
            self._end(node, order)
            return
        had = self.leases.holds(node, key)
        if not self.leases.acquire(node, key):
            self._wake(node, self.leases.seconds / 3)
            return
        # Somebody may have decided while this one waited for the Lease.
        engine = self._client.request("GET", engine_path(key))
        if is_decided(engine):
            self._end(node, order)
            return
        now = datetime.now(timezone.utc)
        if not had:
            self._begun[node, key] = now
            engine = self._state(key, building(engine, node, stamp(now)))
        message = self.failing.get(key, order.message)
        if order.phase in ("Pending", "Running"):
            self._wake(node, self.leases.seconds / 3)
        elif order.phase == "Failed" or key in self.failing:
            self._state(key, failed(engine, node, message, stamp(now)))
            self._end(node, order)
        else:
            seconds = (now - self._begun[node, key]).total_seconds()
            self._state(key, decided(engine, node, driver, seconds, stamp(now)))
            self._end(node, order)

    def states(self, node: str, engines: Mapping[Key, Document | None]) -> dict[Key, str]:
        """Return the state of each engine on a node, as HPINode.status words it."""
        return {
            key: "Cached" if engine and is_decided(engine) else "Building" if self.leases.holds(node, key) else "Absent"
            for key, engine in engines.items()
        }

    def _end(self, node: str, order: Order) -> None:
        self._over.add((node, order.identifier))
        if self.leases.holds(node, order.engine):
            self.leases.release(node, order.engine)

    def _state(self, key: Key, status: Document) -> Document:
        metadata = {"name": key[1], "namespace": key[0]}
        body = {"apiVersion": API_VERSION, "kind": "HPIEngine", "metadata": metadata, "status": status}
        return self._client.apply(f"{engine_path(key)}/status", body, manager=AGENT_FIELD_MANAGER)


def engine_path(key: Key) -> str:
    """Return the path of an HPIEngine."""
    return f"/apis/{GROUP}/v1alpha1/namespaces/{key[0]}/hpiengines/{key[1]}"


def stamp(moment: datetime) -> str:
    """Return a moment as a status words it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

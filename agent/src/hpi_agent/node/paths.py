"""Where the objects lie that an agent reads and writes."""

from __future__ import annotations

from typing import Final

from hpi_core.api.base import GROUP, VERSION

OWN: Final = f"/apis/{GROUP}/{VERSION}"
HPI_NODES: Final = f"{OWN}/hpinodes"


def engine_path(namespace: str, name: str) -> str:
    """Return the path of an HPIEngine."""
    return f"{OWN}/namespaces/{namespace}/hpiengines/{name}"


def leases_path(namespace: str) -> str:
    """Return the path of a namespace's Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def events_path(namespace: str) -> str:
    """Return the path of a namespace's events."""
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"

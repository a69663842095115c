"""Fill a cluster with nodes, and take them away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from support.cluster_client import ApiError, ClusterClient
from support.eventually import eventually
from support.manifests import Document
from support.nodes import PlayedNode

NODES: Final = "/api/v1/nodes"
AT_ONCE: Final = 8


def create_nodes(client: ClusterClient, nodes: Sequence[PlayedNode]) -> None:
    """Create nodes and return when the scheduler may use those that are ready.

    The API server gives every new Node the taint `node.kubernetes.io/not-ready`; the controller manager takes it away.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda node: client.request("POST", NODES, node.manifest), nodes))
    names = {node.name for node in nodes if _is_ready(node.manifest)}
    # A look at a thousand nodes takes a second of somebody's.
    pause = 0.05 + len(nodes) / 500
    eventually(lambda: not any(map(_is_held_back, _named(client, names))), seconds=300.0, pause_seconds=pause)


def delete_nodes(client: ClusterClient, names: Iterable[str]) -> None:
    """Delete nodes; their pods go when the controller manager notices. A node that is gone already is no mistake."""

    def delete(name: str) -> None:
        try:
            client.request("DELETE", f"{NODES}/{name}")
        except ApiError as error:
            if error.code != 404:
                raise

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(delete, names))


def _named(client: ClusterClient, names: set[str]) -> list[Document]:
    found, _ = client.items(NODES)
    return [node for node in found if node["metadata"]["name"] in names]


def _is_ready(node: Document) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))


def _is_held_back(node: Document) -> bool:
    return any(taint["key"] == "node.kubernetes.io/not-ready" for taint in node["spec"].get("taints", ()))

"""What node agents see of a cluster: HPINodes, the pods on each node, runtimes and engines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from hpi_core.api.base import GROUP
from hpi_core.names import PART, RESOLUTION
from support.cluster_client import ClusterClient
from support.manifests import Document
from support.mirror import Key, Mirror

OWN: Final = f"/apis/{GROUP}/v1alpha1"


class AgentWorld:
    """Four watches, and which nodes a change concerns."""

    def __init__(self, connect: Callable[[], ClusterClient], wake: Callable[[str], None], wake_all: Callable[[], None]):
        """Prepare.

        Args:
            connect: Opens one more connection.
            wake: Told of a node that a change concerns.
            wake_all: Told of a change that concerns all.
        """
        self._wake = wake
        self._wake_all = wake_all
        self._lock = threading.Lock()
        self._pods_on: dict[str, dict[Key, Document]] = {}
        self._node_of: dict[Key, str] = {}
        self.hpi_nodes = Mirror(connect(), f"{OWN}/hpinodes", lambda key, _: wake(key[1]))
        self.runtimes = Mirror(connect(), f"{OWN}/hpiruntimes", lambda key, _: wake_all())
        self.engines = Mirror(connect(), f"{OWN}/hpiengines", self._engine_changed)
        self._pods = Mirror(connect(), "/api/v1/pods", self._pod_changed, labelSelector=PART)
        self._mirrors = (self.runtimes, self.engines, self._pods, self.hpi_nodes)

    def start(self) -> None:
        """Begin, and return when everything was seen once."""
        for mirror in self._mirrors:
            mirror.start()
        for mirror in self._mirrors:
            mirror.wait()

    def stop(self) -> None:
        """End."""
        for mirror in self._mirrors:
            mirror.stop()

    def pods_on(self, node: str, part: str) -> list[Document]:
        """Return the pods on a node that are there for one thing: `serving`, `prebuild`, `self-test`."""
        with self._lock:
            pods = list(self._pods_on.get(node, {}).values())
        return [pod for pod in pods if pod["metadata"]["labels"].get(PART) == part]

    def _engine_changed(self, key: Key, new: Document | None) -> None:
        for hpi_node in self.hpi_nodes.all():
            if any((one["namespace"], one["name"]) == key for one in hpi_node["spec"].get("engines", ())):
                self._wake(hpi_node["metadata"]["name"])
        with self._lock:
            pods = [(node, pod) for node, pods in self._pods_on.items() for pod in pods.values()]
        for node, pod in pods:
            if pod["metadata"]["labels"].get(RESOLUTION) == key[1]:
                self._wake(node)

    def _pod_changed(self, key: Key, new: Document | None) -> None:
        with self._lock:
            node = self._node_of.get(key) if new is None else new["spec"].get("nodeName")
            if node is None:
                return
            if new is None:
                del self._pods_on[node][key], self._node_of[key]
            else:
                self._pods_on.setdefault(node, {})[key] = new
                self._node_of[key] = node
        self._wake(node)

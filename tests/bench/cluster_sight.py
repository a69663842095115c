"""When things happened in a cluster, as a client that watches saw them."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final

from hpi_operator.kube.resources import DEPLOYMENTS, PIPELINES
from support.cluster_client import ClusterClient
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.manifests import Document
from support.mirror import Key, Mirror

SECONDS: Final = 600.0


class Sight:
    """When each Deployment was there and each HPIPipeline was ready: `time.monotonic`, by namespace and name."""

    def __init__(self, cluster: ControlPlane) -> None:
        """Prepare; the watches begin with the block."""
        self._lock = threading.Lock()
        self._deployments: dict[Key, float] = {}
        self._ready: dict[Key, float] = {}
        self._mirrors = [
            Mirror(ClusterClient(cluster), DEPLOYMENTS.path(), self._deployment),
            Mirror(ClusterClient(cluster), PIPELINES.path(), self._pipeline),
        ]

    def __enter__(self) -> Sight:
        for mirror in self._mirrors:
            mirror.start()
        for mirror in self._mirrors:
            mirror.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mirror in self._mirrors:
            mirror.stop()

    def deployment(self, namespace: str, name: str, seconds: float = SECONDS) -> float:
        """Return when a Deployment appeared; wait for it."""
        at = eventually(lambda: self._at(self._deployments, (namespace, name)), seconds, pause_seconds=0.002)
        assert at is not None
        return at

    def deployments(self, namespace: str) -> list[float]:
        """Return when the Deployments of a namespace appeared, the first first."""
        return self._times(self._deployments, namespace)

    def ready(self, namespace: str) -> list[float]:
        """Return when the pipelines of a namespace became ready, the first first."""
        return self._times(self._ready, namespace)

    def _at(self, seen: dict[Key, float], key: Key) -> float | None:
        with self._lock:
            return seen.get(key)

    def _times(self, seen: dict[Key, float], namespace: str) -> list[float]:
        with self._lock:
            return sorted(at for (of, _), at in seen.items() if of == namespace)

    def _deployment(self, key: Key, document: Document | None) -> None:
        now = time.monotonic()
        with self._lock:
            if document is None:
                self._deployments.pop(key, None)
            else:
                self._deployments.setdefault(key, now)

    def _pipeline(self, key: Key, document: Document | None) -> None:
        now = time.monotonic()
        conditions = () if document is None else document.get("status", {}).get("conditions", ())
        is_ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        with self._lock:
            if is_ready:
                self._ready.setdefault(key, now)
            else:
                self._ready.pop(key, None)

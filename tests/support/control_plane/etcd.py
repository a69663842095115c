"""The store of a cluster, asked directly: its revision, and compaction, after which older ones are gone."""

from __future__ import annotations

import base64
import os

import httpx2

from support.control_plane.cluster import ControlPlane
from support.control_plane.components import ETCD

SOCKET = ETCD.removeprefix("unix://")


def compact(cluster: ControlPlane) -> int:
    """Forget every revision but the present one; return that one.

    Whoever goes on from an older one is told that it is gone (410), unless the API server has it in memory: where it
    runs with `--watch-cache=false`, or was started anew, it asks its store.
    """
    revision = current_revision(cluster)
    _call(cluster, "kv/compaction", {"revision": str(revision), "physical": True})
    return revision


def current_revision(cluster: ControlPlane) -> int:
    """Return the store's revision; every write adds one."""
    answer = _call(cluster, "kv/range", {"key": base64.b64encode(b"/").decode(), "countOnly": True})
    return int(answer["header"]["revision"])


def _call(cluster: ControlPlane, method: str, body: dict[str, object]) -> dict[str, dict[str, str]]:
    # The path of a socket may not have more than 107 characters; that of a test's folder often has.
    folder = os.open(cluster.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        transport = httpx2.HTTPTransport(uds=f"/proc/self/fd/{folder}/{SOCKET}")
        with httpx2.Client(transport=transport, timeout=30.0, trust_env=False) as http:
            answer = http.post(f"http://etcd/v3/{method}", json=body)
        answer.raise_for_status()
        content: dict[str, dict[str, str]] = answer.json()
        return content
    finally:
        os.close(folder)

"""Namespaces of tests: one each, ready for pods."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from support.control_plane.cluster import ControlPlane
from support.control_plane.components import CONTROLLER_MANAGER

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

DEADLINE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02


def make_namespace(cluster: ControlPlane, name: str) -> str:
    """Make a namespace with the service account `default`, without which no pod is admitted; return its name.

    Where a controller manager runs it makes the account; elsewhere it is made here in its stead.
    """
    from kubernetes.client import CoreV1Api

    with cluster.api_client() as client:
        core = CoreV1Api(client)
        core.create_namespace({"metadata": {"name": name}})
        if cluster.runs(CONTROLLER_MANAGER):
            _wait_for_account(core, name)
        else:
            core.create_namespaced_service_account(name, {"metadata": {"name": "default"}})
    return name


def remove_namespace(cluster: ControlPlane, name: str) -> None:
    """Delete a namespace and do not wait; nothing happens where no controller manager would finish it."""
    from kubernetes.client import CoreV1Api

    if cluster.runs(CONTROLLER_MANAGER):
        with cluster.api_client() as client:
            CoreV1Api(client).delete_namespace(name)


def _wait_for_account(core: CoreV1Api, namespace: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not core.list_namespaced_service_account(namespace, field_selector="metadata.name=default").items:
        assert time.monotonic() < deadline, f"no service account in {namespace} after {DEADLINE_SECONDS:g} s"
        time.sleep(POLL_SECONDS)

"""What a person sees: the tables of `kubectl get`, as they go into a document or the message of a test."""

from __future__ import annotations

import shlex
from typing import Final

from hpi_core.api.v1alpha1.kinds import KINDS
from support.control_plane.clients import Client
from support.control_plane.cluster import ControlPlane

CHILDREN: Final = ("deployments", "services", "pods")


def shown(cluster: ControlPlane, *arguments: str, user: Client | None = None) -> str:
    """Return a command and what it printed: `shown(cluster, "get", "hpi", "-n", "shop")`.

    Args:
        cluster: Which one.
        arguments: Of kubectl.
        user: Who asks. None: the admin.
    """
    answer = cluster.kubectl(*arguments, user=user)
    assert answer.exit_code == 0, answer.error
    # kubectl says on the other stream that it found nothing.
    return f"$ kubectl {shlex.join(arguments)}\n{answer.output or answer.error}"


def overview(cluster: ControlPlane, namespace: str) -> str:
    """Return all that concerns a namespace: our kinds, those of the whole cluster, what pipelines are made of."""
    own = [kind.plural for kind in KINDS if kind.scope == "Namespaced"]
    common = [kind.plural for kind in KINDS if kind.scope == "Cluster"]
    tables = [shown(cluster, "get", plural, "-n", namespace) for plural in (*own, *CHILDREN)]
    return "\n".join([*tables, *(shown(cluster, "get", plural) for plural in common)])
